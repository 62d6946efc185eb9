//! Admits a request, has it written and answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::{Receiver, channel};

use crate::serve::app::App;
use crate::serve::body;
use crate::serve::completions::answer::Answer;
use crate::serve::completions::asked::{Asked, Job};
use crate::serve::engine::Order;
use crate::serve::guard::RequestLog;
use crate::serve::models::Loaded;
use crate::serve::problem::Problem;
use crate::serve::sink::{Event, Piece};

/// Pieces of each text that wait for a reader.
const WAITING: usize = 2;

pub(in crate::serve) async fn complete(
    State(app): State<Arc<App>>,
    Extension(log): Extension<RequestLog>,
    request: Request,
) -> Result<Response, Problem> {
    let asked: Asked = body::read(request, &app.config.limits).await?;
    let model = app.models.named(asked.model.as_deref())?;
    let job = asked.job(&model, &app.config.limits, app.next_seed())?;
    log.begin(&model.model.id, app.config.log_prompts.then(|| job.prompts.join("\n---\n")));
    let (events, answer) = start(&app, &model, &job).await?;
    let echoes = job.requests.iter().filter(|request| request.echo);
    let echoed = job.n * echoes.map(|request| request.prompt.len()).sum::<usize>();
    if job.stream {
        Ok(in_events(events, answer, log, job.include_usage.then_some(echoed)))
    } else {
        let answer = whole(events, answer, &log, echoed, job.n * job.requests.len()).await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
    }
}

/// Waits for places, and has the texts written.
async fn start(app: &App, model: &Loaded, job: &Job) -> Result<(Receiver<Event>, Answer), Problem> {
    let choices = job.n * job.requests.len();
    let mut places = model.rows.enter(choices).await?;
    let (reader, events) = channel(WAITING * choices);
    for (index, request) in job.requests.iter().enumerate() {
        let own = places.split(job.n).ok_or_else(Problem::broken)?;
        model.engines.write(Order {
            request: request.clone(),
            count: job.n,
            first_choice: index * job.n,
            whole: !job.stream,
            reader: reader.clone(),
            places: own,
        });
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let names = (model.model.id.clone(), model.model.fingerprint.clone());
    let tokenizer = Arc::clone(&model.model.tokenizer);
    Ok((events, Answer::new(app.next_id(), now, names, tokenizer, job)))
}

/// What an engine says of its failure.
fn failed(why: Option<String>) -> Problem {
    let mut problem = Problem::broken();
    if let Some(why) = why {
        problem.message = why;
    }
    problem
}

async fn whole(
    mut events: Receiver<Event>,
    mut answer: Answer,
    log: &RequestLog,
    echoed: usize,
    choices: usize,
) -> Result<String, Problem> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(choices);
    while let Some(event) = events.recv().await {
        pieces.push(event.map_err(|why| failed(Some(why)))?);
    }
    if pieces.len() < choices {
        return Err(failed(None));
    }
    let json = answer.whole(pieces, echoed);
    log.ended(answer.written());
    Ok(json)
}

/// Events as they come; `usage` asks for a last one of what was used, of which so many ids were echoed.
fn in_events(
    mut events: Receiver<Event>,
    mut answer: Answer,
    log: RequestLog,
    usage: Option<usize>,
) -> Response {
    let mut open = answer.choices();
    let events = stream::poll_fn(move |context| events.poll_recv(context));
    let events = events.map(Some).chain(stream::iter([None]));
    let texts = events.flat_map(move |event| {
        let mut out = Vec::new();
        match event {
            Some(Ok(piece)) => {
                open -= usize::from(piece.finish.is_some());
                out.push(answer.event(&piece));
                log.wrote(answer.written());
            }
            Some(Err(why)) => {
                open = 0;
                out.push(failed(Some(why)).to_json().to_string());
            }
            None if open > 0 => out.push(failed(None).to_json().to_string()),
            None => {
                out.extend(usage.map(|echoed| answer.usage_event(echoed)));
                out.push("[DONE]".into());
            }
        }
        stream::iter(out)
    });
    let events = texts.map(|text| Ok::<_, Infallible>(SseEvent::default().data(text)));
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
