//! The library's enums as values of arguments: the names are the library's, the help stands here.
//! A variant without a line of help does not compile.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::model::{Cell, Precision};
use crate::text::{Documents, Encoding, Newlines, Units};
use crate::train::Schedule;

macro_rules! values {
    ($($enum:ident { $($variant:ident: $help:literal,)+ })+) => { $(
        impl ValueEnum for $enum {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                let help = match self { $(Self::$variant => $help),+ };
                Some(PossibleValue::new(self.name()).help(help))
            }
        }
    )+ };
}

values! {
    Cell {
        Gru: "Cho et al. 2014: the reset gate acts before the matrix product. Gates r, z, n",
        GruResetAfter: "PyTorch, cuDNN, Keras `reset_after`: the reset gate acts after it, and z has the \
                        opposite sense. Gates r, z, n",
        Lstm: "Hochreiter & Schmidhuber 1997, with a forget gate. Gates i, f, g, o",
        Rnn: "Elman 1990, with tanh",
        MinGru: "Feng et al. 2024: gates of the input alone, no recurrent matrix. Gates z, n",
    }
    Schedule {
        Cosine: "Half a cosine, down to a hundredth of the peak",
        Linear: "A straight line, down to a hundredth of the peak",
        Constant: "The peak, to the end",
    }
    Units {
        Chars: "one Unicode character",
        Bytes: "one byte of UTF-8: V is 256, and any text can be read and written",
    }
    Documents {
        Off: "none: the corpus is one long text",
        Lines: "every line that is not empty, without its newline",
        Files: "every file that is not empty",
    }
    Encoding {
        Utf8: "UTF-8; any other byte is an error",
        Latin1: "ISO 8859-1: every byte is the character of that number",
        Lossy: "UTF-8; any other byte becomes U+FFFD",
    }
    Newlines {
        Keep: "leave every character as it is",
        Lf: "CRLF and lone CR become LF",
    }
    Precision {
        F32: "float32 throughout",
        Bf16: "operands rounded to bfloat16, sums in float32",
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    /// A flag and a `--config` file, which serde reads, take the same names.
    #[test]
    fn flags_and_files_have_the_same_names() {
        fn check<E: ValueEnum + Serialize>() {
            for value in E::value_variants() {
                let flag = value.to_possible_value().unwrap();
                assert_eq!(serde_json::to_value(value).unwrap(), flag.get_name());
            }
        }
        check::<Cell>();
        check::<Schedule>();
        check::<Units>();
        check::<Documents>();
        check::<Encoding>();
        check::<Newlines>();
        check::<Precision>();
    }

    #[test]
    fn every_cell_can_be_chosen() {
        assert_eq!(Cell::value_variants(), Cell::ALL);
    }
}
