//! Fills the gaps of a text.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::error::{Error, Result, ensure};
use crate::fill::alphabet::Alphabet;
use crate::fill::context::Context;
use crate::fill::draft::{Draft, Part, Stretch};
use crate::fill::draw::{combinations, log_softmax};
use crate::fill::options::FillOptions;
use crate::fill::pattern::{Piece, parse};
use crate::fill::search::Search;
use crate::fill::weigh::Weighed;
use crate::generate::beginning;
use crate::model::{BidirectionalNetwork, SidesReader};
use crate::text::Tokenizer;

/// Fills gaps in texts with a bidirectional network.
///
/// ```
/// # fn main() -> chargru::Result<()> {
/// use std::ops::ControlFlow;
///
/// use chargru::fill::{FillOptions, Filler};
/// use chargru::text::Corpus;
/// use chargru::train::Job;
///
/// let corpus = Corpus::from_text("tide", "The tide comes in, the tide goes out.\n".repeat(40));
/// let mut job = Job::small();
/// job.model.bidirectional = true;
/// job.train.steps = Some(60);
/// let mut trainer = job.start(corpus, &chargru::Device::Cpu)?;
/// trainer.run(|_event| ControlFlow::Continue(()))?;
///
/// let network = trainer.bidirectional().expect("it was trained as one");
/// let filler = Filler::new(network, trainer.data().tokenizer.clone())?;
/// // Four characters, then up to twelve.
/// let filled = filler.fill("The t___ comes in, the * goes out.\n", &FillOptions::default())?;
/// println!("{} ({:.2})", filled[0].text, filled[0].probability);
/// # assert_eq!(filled[0].text, "The tide comes in, the tide goes out.\n");
/// # Ok(())
/// # }
/// ```
///
/// A gap is filled as a whole. Fillings are proposed by the half that reads from the left, by the half that
/// reads from the right, and by putting beginnings of the one, ends of the other and an id between them
/// together. They are weighed by the mean of what both halves say of the gap and the text behind it, as they
/// read it, whatever its length. Gaps that are a few characters apart are filled together, others from left to right and then, when
/// all are filled, once more. A text that begins or ends with a gap is taken to begin or to end a line, unless
/// it is a document.
#[derive(Clone)]
pub struct Filler {
    reader: SidesReader,
    search: Arc<Search>,
    tokenizer: Arc<Tokenizer>,
}

/// A text whose gaps were filled.
#[derive(Clone, Debug, PartialEq)]
pub struct Filling {
    /// The whole text.
    pub text: String,
    /// What stands in each gap.
    pub gaps: Vec<String>,
    /// Its share among the fillings that were weighed: the softmax of their scores, and of gaps that were
    /// filled apart from each other the product, each given the likeliest filling of the others; 0 where that
    /// of hundreds of gaps is too small for a number.
    pub probability: f64,
    /// Log-likelihood, in nats, of the gaps and up to 8 ids after each, by the half that reads from the left.
    pub forward: f64,
    /// The same by the half that reads from the right, with the ids before each. The score is the mean of both.
    pub backward: f64,
}

impl Filler {
    /// Fills with the network as it is now. `tokenizer` is that of its training.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] for a tokenizer with another number of ids than the network has;
    /// [`Error::Tensor`] without memory on the device.
    pub fn new(
        network: &BidirectionalNetwork,
        tokenizer: impl Into<Arc<Tokenizer>>,
    ) -> Result<Self> {
        let tokenizer = tokenizer.into();
        let vocab = network.config().vocab;
        ensure!(
            tokenizer.vocab_size() == vocab,
            Error::vocabulary(format!(
                "the network has {vocab} ids but the tokenizer {}",
                tokenizer.vocab_size()
            ))
        );
        let reader = SidesReader::new(network)?;
        let search = Search {
            forward: reader.forward_half().clone(),
            backward: reader.backward_half().clone(),
            network: network.clone(),
            alphabet: Alphabet::new(Arc::clone(&tokenizer)),
        };
        Ok(Self { reader, search: Arc::new(search), tokenizer })
    }

    /// Fills the gaps of `text`: of one document, if the vocabulary has an end-of-document id. Returns the
    /// likeliest filling, or up to `options.num` different ones, the likeliest first. There are at most 64 for
    /// gaps that are filled together.
    ///
    /// # Errors
    /// [`Error::Setting`] for an option outside its range; [`Error::Text`] for an empty text, one without a
    /// gap, or with a gap that is too long; [`Error::UnknownCharacters`]; [`Error::Logits`] from weights that
    /// are unusable.
    pub fn fill(&self, text: &str, options: &FillOptions) -> Result<Vec<Filling>> {
        options.validate()?;
        let tokenizer = &*self.tokenizer;
        let pieces = parse(text, options)?;
        let mut draft = Draft::new(
            encode(tokenizer, &pieces)?,
            tokenizer.end_of_document(),
            beginning(tokenizer),
        );
        let stretches = draft.stretches();
        let mut fillings: Vec<Vec<Weighed>> = Vec::new();
        let mut unsure = Vec::new();
        for (index, stretch) in stretches.iter().enumerate() {
            let (found, cut) = self.search(&draft, stretch)?;
            draft.fill(stretch, &found[0].ids);
            fillings.push(found);
            if cut {
                unsure.push(index);
            }
        }
        for index in unsure {
            let (found, _) = self.search(&draft, &stretches[index])?;
            draft.fill(&stretches[index], &found[0].ids);
            fillings[index] = found;
        }

        let shares = |found: &Vec<Weighed>| {
            log_softmax(&found.iter().map(Weighed::score).collect::<Vec<_>>(), 1.0)
        };
        let shares: Vec<Vec<f64>> = fillings.iter().map(shares).collect();
        let (count, temperature) = match options.num {
            None => (1, 0.0),
            Some(num) => (num, options.temperature),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let drawn = combinations(&shares, count, temperature, &mut rng);
        drawn
            .into_iter()
            .map(|choices| {
                let mut filling = Filling {
                    text: String::new(),
                    gaps: Vec::new(),
                    probability: 1.0,
                    forward: 0.0,
                    backward: 0.0,
                };
                for (index, choice) in choices.into_iter().enumerate() {
                    let chosen = &fillings[index][choice];
                    draft.fill(&stretches[index], &chosen.ids);
                    filling.probability *= shares[index][choice].exp();
                    filling.forward += chosen.forward;
                    filling.backward += chosen.backward;
                }
                for (piece, part) in pieces.iter().zip(&draft.parts) {
                    match (piece, part) {
                        // Not what its ids stand for: some may share that of unknown characters.
                        (Piece::Text(text), _) => filling.text.push_str(text),
                        (_, Part::Known(_)) => {}
                        (_, Part::Gap { ids, .. }) => {
                            let text = tokenizer.decode(ids.as_deref().unwrap_or_default())?;
                            filling.text.push_str(&text);
                            filling.gaps.push(text);
                        }
                    }
                }
                Ok(filling)
            })
            .collect()
    }

    /// The fillings of a stretch, the likeliest first, and whether what was read right of it ended at a gap.
    fn search(&self, draft: &Draft, stretch: &Stretch) -> Result<(Vec<Weighed>, bool)> {
        let around = draft.around(stretch);
        let cut = around.cut;
        let context = Context::read(&self.reader, around.left, around.right)?;
        let (slots, lengths) = (draft.slots(stretch), draft.lengths(stretch));
        Ok((self.search.fillings(&context, &slots, lengths)?, cut))
    }
}

/// The pieces in ids. All at once, so that an error names all unknown characters.
fn encode(tokenizer: &Tokenizer, pieces: &[Piece]) -> Result<Vec<Part>> {
    let known = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Gap { .. } => String::new(),
    };
    tokenizer.encode(&pieces.iter().map(known).collect::<String>())?;
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Ok(Part::Known(tokenizer.encode(text)?)),
            &Piece::Gap { least, most } => Ok(Part::Gap { least, most, ids: None }),
        })
        .collect()
}
