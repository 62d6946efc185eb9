//! Listening, connections, the orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use crate::error::{Error, Result};
use crate::runtime;
use crate::serve::app::App;
use crate::serve::config::ServeConfig;
use crate::serve::models::{Model, Models};
use crate::serve::routes::router;

/// Serves models over HTTP.
///
/// ```no_run
/// use chargru::checkpoint::Checkpoint;
/// use chargru::serve::{Model, ServeConfig, Server};
///
/// # async fn f() -> chargru::Result<()> {
/// let checkpoint = Checkpoint::open("checkpoints/demo".as_ref(), &chargru::Device::Cpu)?;
/// let network = checkpoint.network(&chargru::Device::Cpu)?;
/// let model = Model::new("demo", checkpoint, network, None)?;
/// let server = Server::bind(vec![model], ServeConfig::default()).await?;
/// println!("listening on http://{}", server.address());
/// server.run(async { std::future::pending().await }).await
/// # }
/// ```
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
}

/// After the running texts were cut, until their last pieces have been taken.
const LAST_PIECES: Duration = Duration::from_secs(3);
/// The most that hyper keeps of a request's head.
const MAX_HEAD: usize = 1 << 16;
/// Before connections are accepted again, where the system has no file left for one.
const NO_FILES: Duration = Duration::from_millis(50);

impl Server {
    /// Starts the threads of the models and listens.
    ///
    /// # Errors
    /// [`Error::Setting`] for one outside its range, or no model; [`Error::Checkpoint`] for two of one name; [`Error::Io`] for an address
    /// that cannot be listened at.
    pub async fn bind(models: Vec<Model>, config: ServeConfig) -> Result<Self> {
        config.validate()?;
        let address = SocketAddr::new(config.host, config.port);
        let refused = |source: io::Error| Error::Io {
            doing: "listen at",
            path: PathBuf::from(address.to_string()),
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let threads = config.threads.unwrap_or_else(runtime::threads).max(1);
        let models = Models::start(models, threads, &config.limits)?;
        Ok(Self { app: Arc::new(App::new(config, models, threads)), listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is ready: then nothing new is begun, and what runs may end, or is cut after
    /// [`ServeConfig::drain`].
    ///
    /// # Errors
    /// None of a client's making.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Self { app, listener, .. } = self;
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(app.config.limits.connections()));
        let router = router(Arc::clone(&app));
        {
            let mut stop = pin!(stop);
            loop {
                let accepted = async {
                    let place = Arc::clone(&connections).acquire_owned().await;
                    (place, listener.accept().await)
                };
                tokio::select! {
                    () = &mut stop => break,
                    (place, accepted) = accepted => match accepted {
                        Ok((stream, _)) => serve(stream, &app, router.clone(), &graceful, place.ok()),
                        Err(_) => sleep(NO_FILES).await,
                    },
                }
            }
        }
        drop(listener);
        tracing::info!("stopping: running texts may end");
        app.stop();
        let mut ended = pin!(graceful.shutdown());
        if timeout(app.config.drain, &mut ended).await.is_err() {
            tracing::info!("stopping: running texts are cut");
            app.models.all().for_each(|loaded| loaded.engines.cut());
            let _ = timeout(LAST_PIECES, &mut ended).await;
        }
        Ok(())
    }
}

/// Serves one connection on a task of its own.
fn serve(
    stream: TcpStream,
    app: &Arc<App>,
    router: Router,
    graceful: &GracefulShutdown,
    place: Option<tokio::sync::OwnedSemaphorePermit>,
) {
    // Characters are sent as they come. A stream without this is only slower.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(app.config.limits.reader));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.config.limits.arrival)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let connection = graceful.watch(connection);
    let app = Arc::clone(app);
    app.metrics.connections.inc();
    tokio::spawn(async move {
        // A client that breaks the protocol or goes away is no error of ours.
        let _ = connection.await;
        app.metrics.connections.dec();
        drop(place);
    });
}
