//! Texts that were read from both sides: the states of the two halves between their ids.

use candle_core::{Device, Result, Tensor, bail};

use crate::fused::parallel;
use crate::model::bidirectional::BidirectionalNetwork;
use crate::model::network::Network;
use crate::model::session::PackedNetwork;
use crate::model::state::State;

/// Texts that one task reads side by side.
const ROWS: usize = 32;

/// Reads texts from both sides. A clone copies no numbers.
#[derive(Clone)]
pub struct SidesReader {
    network: BidirectionalNetwork,
    forward: PackedNetwork,
    backward: PackedNetwork,
}

/// The states of both halves between the ids of some texts. A text of N ids has N + 1 places: place k is
/// before its id k, and place N after its last id.
pub struct Sides {
    network: BidirectionalNetwork,
    /// Row of each text's place 0.
    starts: Vec<usize>,
    rows: usize,
    /// Of the forward half after the ids left of a place: `[S, rows, H]` for each layer.
    left: State,
    /// Of the backward half after the ids right of a place.
    right: State,
}

impl SidesReader {
    /// The network as it is now, prepared for reading in float32.
    ///
    /// # Errors
    /// Those of [`Network::pack`](crate::model::Network::pack).
    pub fn new(network: &BidirectionalNetwork) -> Result<Self> {
        Ok(Self {
            forward: network.forward_half().pack()?,
            backward: network.backward_half().pack()?,
            network: network.clone(),
        })
    }

    /// The network.
    pub fn network(&self) -> &BidirectionalNetwork {
        &self.network
    }

    /// Its forward half, prepared for reading.
    pub fn forward_half(&self) -> &PackedNetwork {
        &self.forward
    }

    /// Its backward half, prepared for reading.
    pub fn backward_half(&self) -> &PackedNetwork {
        &self.backward
    }

    /// Reads each text alone, from the zero state at both its ends. Takes memory for two states of all
    /// layers an id.
    ///
    /// # Errors
    /// No text; an id outside V.
    pub fn read(&self, texts: &[&[u32]]) -> Result<Sides> {
        if texts.is_empty() {
            bail!("there is no text to read");
        }
        // Texts of about one length are read side by side.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| std::cmp::Reverse(texts[text].len()));
        let mut tasks: Vec<Task> = Vec::new();
        for texts_of_task in order.chunks(ROWS) {
            for backward in [false, true] {
                tasks.push(Task { texts: texts_of_task, backward, states: Ok(Vec::new()) });
            }
        }
        parallel::for_items(tasks.iter_mut(), |task| {
            let half = if task.backward { &self.backward } else { &self.forward };
            task.states = read_half(half, texts, task.texts, task.backward);
        });

        let mut starts = Vec::with_capacity(texts.len());
        let mut rows = 0;
        for text in texts {
            starts.push(rows);
            rows += text.len() + 1;
        }
        let config = self.network.forward_half().config();
        let (states, h) = (config.cell.states(), config.hidden);
        let mut sides = [false, true].map(|_| vec![vec![0f32; states * rows * h]; config.layers]);
        for task in tasks {
            let side = &mut sides[usize::from(task.backward)];
            for (&text, read) in task.texts.iter().zip(task.states?) {
                let count = (texts[text].len() + 1) * h;
                for (layer, read) in side.iter_mut().zip(read) {
                    for (s, read) in read.chunks_exact(count).enumerate() {
                        let first = (s * rows + starts[text]) * h;
                        layer[first..first + count].copy_from_slice(read);
                    }
                }
            }
        }
        let device = self.network.device();
        let [left, right] = sides.map(|side| {
            let tensor = |layer| Tensor::from_vec(layer, (states, rows, h), device);
            Ok::<_, candle_core::Error>(State {
                layers: side.into_iter().map(tensor).collect::<Result<_>>()?,
            })
        });
        Ok(Sides { network: self.network.clone(), starts, rows, left: left?, right: right? })
    }
}

/// Some texts to read in one direction, and what came of it: for each text and layer `[S, N + 1, H]`.
struct Task<'a> {
    texts: &'a [usize],
    backward: bool,
    states: Result<Vec<Vec<Vec<f32>>>>,
}

/// Reads the texts of `order`, the longest first, in one direction.
fn read_half(
    half: &PackedNetwork,
    texts: &[&[u32]],
    order: &[usize],
    backward: bool,
) -> Result<Vec<Vec<Vec<f32>>>> {
    let mut session = half.session(order.len())?;
    let zero = session.state()?;
    let (states, _, h) = zero.layers[0].dims3()?;
    let of_text =
        |&text: &usize| vec![vec![0f32; states * (texts[text].len() + 1) * h]; zero.layers.len()];
    let mut read: Vec<_> = order.iter().map(of_text).collect();
    let longest = order.first().map_or(0, |&text| texts[text].len());
    for step in 0..longest {
        let going = order.partition_point(|&text| texts[text].len() > step);
        if going < session.rows() {
            session.select(&(0..going).collect::<Vec<_>>())?;
        }
        let ids: Vec<u32> = order[..going]
            .iter()
            .map(|&text| {
                let ids = texts[text];
                if backward { ids[ids.len() - 1 - step] } else { ids[step] }
            })
            .collect();
        session.step(&ids)?;
        for (layer, state) in session.state()?.layers.iter().enumerate() {
            let values = state.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            for (row, &text) in order[..going].iter().enumerate() {
                let length = texts[text].len();
                let place = if backward { length - 1 - step } else { step + 1 };
                for s in 0..states {
                    let from = &values[(s * going + row) * h..][..h];
                    read[row][layer][(s * (length + 1) + place) * h..][..h].copy_from_slice(from);
                }
            }
        }
    }
    Ok(read)
}

impl Sides {
    /// How many places there are in all texts.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The row of a text's place among all rows.
    pub fn row(&self, text: usize, place: usize) -> usize {
        self.starts[text] + place
    }

    /// The forward half's states after what is left of the places in these rows.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn left(&self, rows: &[usize]) -> Result<State> {
        self.left.select(rows)
    }

    /// The backward half's states after what is right of the places in these rows.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn right(&self, rows: &[usize]) -> Result<State> {
        self.right.select(rows)
    }

    /// What the readouts read in these rows, `[rows, H]` each: of the forward half, of the backward half.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn hidden(&self, left: &[usize], right: &[usize]) -> Result<(Tensor, Tensor)> {
        let read = |half: &Network, state: &State, rows: &[usize]| -> Result<Tensor> {
            // A readout reads of the states h alone, and of a network that is not residual the highest.
            let lowest = if half.config().residual { 0 } else { state.layers.len() - 1 };
            let h = state.layers[lowest..].iter().map(|layer| layer.narrow(0, 0, 1));
            half.output(&State { layers: h.collect::<Result<_>>()? }.select(rows)?)
        };
        let (forward, backward) = (self.network.forward_half(), self.network.backward_half());
        Ok((read(forward, &self.left, left)?, read(backward, &self.right, right)?))
    }

    /// Scores of the id at each of `positions`, (text, index of the id), given all ids of its text but
    /// itself: `[positions, V]`.
    ///
    /// # Errors
    /// A position that is not there.
    pub fn logits(&self, positions: &[(usize, usize)]) -> Result<Tensor> {
        let before: Vec<usize> = positions.iter().map(|&(text, at)| self.row(text, at)).collect();
        let after: Vec<usize> = before.iter().map(|row| row + 1).collect();
        let (left, right) = self.hidden(&before, &after)?;
        self.network.logits(&Tensor::cat(&[left, right], 1)?)
    }
}
