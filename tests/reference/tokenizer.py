"""Does Python's `tokenizers` agree with chargru's tokenizer.json?

    pip install tokenizers                                          # tokenizers 0.23.3

    python tokenizer.py ids TOKENIZER.json < text                   # the ids, as JSON
    python tokenizer.py text TOKENIZER.json < ids                   # the text, of ids as JSON
    python tokenizer.py check TOKENIZER.json < text                 # against the rules below

`check` derives the ids a second time, from the rules alone: characters by code point from 0 on,
or bytes by value; then <unk>, then <eod>; and every id is one character. It compares them with
those of `tokenizers`, compares the decoded text with the text, and exits 1 at a difference.
"""

import json
import sys

from tokenizers import Tokenizer


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(otherwise)


def expected_ids(vocab: dict[str, int], byte_level: bool, text: str) -> list[int]:
    specials = [name for name in ("<unk>", "<eod>") if name in vocab]
    characters = len(vocab) - len(specials)
    require([vocab[name] for name in specials] == [*range(characters, len(vocab))], "the special ids are not the last")
    if byte_level:
        require(characters == 256, "the vocabulary is not all bytes")
        return list(text.encode())
    own = {name: id for id, name in enumerate(sorted(set(vocab) - set(specials), key=ord))}
    require(all(vocab[name] == id for name, id in own.items()), "ids do not follow code points")
    unknown = vocab.get("<unk>")
    return [own.get(character, unknown) for character in text]


def check(tokenizer: Tokenizer, text: str) -> None:
    vocab = tokenizer.get_vocab()
    ids = tokenizer.encode(text).ids
    expected = expected_ids(vocab, tokenizer.pre_tokenizer is not None, text)
    if ids != expected:
        at = next((i for i, pair in enumerate(zip(ids, expected)) if pair[0] != pair[1]), "the end")
        sys.exit(f"ids differ at {at}: {len(ids)} by tokenizers, {len(expected)} by the rules")
    decoded = tokenizer.decode(ids)
    unknown = vocab.get("<unk>")
    if unknown is not None:  # Python writes the unknown id's name
        own = set(vocab) - {"<unk>", "<eod>"}
        text = "".join(character if character in own else "<unk>" for character in text)
    if decoded != text:
        sys.exit(f"decoding gives another text: {decoded[:80]!r} for {text[:80]!r}")
    print(f"agrees: {len(ids)} ids, {len(vocab)} in the vocabulary")


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] not in ("ids", "text", "check"):
        sys.exit(__doc__)
    tokenizer = Tokenizer.from_file(sys.argv[2])
    given = sys.stdin.buffer.read().decode()  # bytes: Python must not translate newlines
    match sys.argv[1]:
        case "ids":
            json.dump(tokenizer.encode(given).ids, sys.stdout)
        case "text":
            sys.stdout.buffer.write(tokenizer.decode(json.loads(given)).encode())
        case "check":
            check(tokenizer, given)


if __name__ == "__main__":
    main()
