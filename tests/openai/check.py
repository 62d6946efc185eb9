"""What OpenAI's own client, unpatched, gets from `chargru serve`. Run by tests/openai/run."""

import asyncio
import string
import unittest
from concurrent.futures import ThreadPoolExecutor

import openai

from server import Server

PROMPT = "MAREN:\n"


def collect(stream) -> list:
    """The choices of a stream: text, finish reason and tokens of each."""
    choices = {}
    for event in stream:
        for choice in event.choices:
            text, finish, tokens = choices.get(choice.index, ("", None, []))
            assert finish is None, "a text goes on after its end"
            tokens = tokens + (choice.logprobs.tokens if choice.logprobs else [])
            choices[choice.index] = (text + choice.text, choice.finish_reason, tokens)
    return [choices[index] for index in range(len(choices))]


class Case(unittest.TestCase):
    """Tests that share a server."""

    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.flags)
        cls.addClassCleanup(cls.server.close)
        cls.client = cls.server.client()

    def create(self, **fields):
        fields = {"model": "demo", "prompt": PROMPT, "max_tokens": 40, "seed": 7, **fields}
        return self.client.completions.create(**fields)

    def text(self, **fields) -> str:
        return self.create(**fields).choices[0].text


class Texts(Case):
    def test_a_completion_has_every_field(self):
        answer = self.create()
        self.assertEqual((answer.object, answer.model), ("text_completion", "demo"))
        self.assertTrue(answer.id.startswith("cmpl-"))
        self.assertGreater(answer.created, 1_700_000_000)
        choice = answer.choices[0]
        self.assertEqual((choice.index, choice.finish_reason, choice.logprobs), (0, "length", None))
        self.assertEqual(len(choice.text), 40)
        usage = answer.usage
        self.assertEqual((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (7, 40, 47))

    def test_a_stream_is_the_same_text(self):
        text = self.text(max_tokens=500)
        events = list(self.create(max_tokens=500, stream=True))
        self.assertGreater(len(events), 1)
        self.assertEqual(len({event.id for event in events}), 1)
        self.assertTrue(all(event.usage is None for event in events))
        self.assertEqual(collect(events), [(text, "length", [])])

    def test_a_stream_can_end_with_the_usage(self):
        *events, last = self.create(n=2, stream=True, stream_options={"include_usage": True})
        self.assertTrue(all(event.usage is None for event in events))
        self.assertEqual(last.choices, [])
        self.assertEqual(last.usage, self.create(n=2).usage)

    def test_several_texts_of_several_prompts(self):
        prompts = [PROMPT, "The tide", ""]
        answer = self.create(prompt=prompts, n=3)
        self.assertEqual([choice.index for choice in answer.choices], list(range(9)))
        texts = [choice.text for choice in answer.choices]
        self.assertEqual(len(set(texts)), 9)
        self.assertEqual([text for text, *_ in collect(self.create(prompt=prompts, n=3, stream=True))], texts)
        self.assertEqual([choice.text for choice in self.create(n=3).choices], texts[:3])

    def test_a_seed_gives_the_same_text_again(self):
        text = self.text()
        self.assertEqual(self.text(), text)
        self.assertNotEqual(self.text(seed=8), text)
        # Without one, texts differ.
        free = [self.create(seed=openai.omit).choices[0].text for _ in range(2)]
        self.assertNotEqual(*free)

    def test_a_text_does_not_depend_on_what_else_is_asked(self):
        alone = {seed: self.text(seed=seed, max_tokens=300) for seed in range(24)}

        def ask(seed):
            if seed % 2:
                return collect(self.create(seed=seed, max_tokens=300, stream=True))[0][0]
            return self.text(seed=seed, max_tokens=300)

        with ThreadPoolExecutor(24) as threads:
            self.assertEqual(dict(zip(alone, threads.map(ask, alone))), alone)

    def test_a_stop_text_ends_the_text_before_it(self):
        text = self.text(max_tokens=200)
        for start in (0, 1, 50, 150):
            stop = text[start : start + 4]
            expected = text.split(stop)[0]
            for asked in (stop, [stop], ["@@", stop]):
                choice = self.create(max_tokens=200, stop=asked).choices[0]
                self.assertEqual((choice.text, choice.finish_reason), (expected, "stop"))
                stream = self.create(max_tokens=200, stop=asked, stream=True)
                self.assertEqual(collect(stream), [(expected, "stop", [])])

    def test_settings_that_openai_does_not_have(self):
        greedy = self.text(temperature=0)
        self.assertEqual(self.text(extra_body={"top_k": 1}), greedy)
        self.assertEqual(self.text(extra_body={"min_p": 1.0}), greedy)
        self.assertNotEqual(self.text(temperature=0, extra_body={"repetition_penalty": 2.0}), greedy)
        self.assertEqual(self.text(top_p=1e-6), greedy)

    def test_a_stream_that_is_closed_ends(self):
        with self.create(max_tokens=16_384, n=16, stream=True) as stream:
            next(iter(stream))
        self.assertEqual(len(self.text()), 40)


class Logprobs(Case):
    def test_tokens_joined_are_the_text(self):
        choice = self.create(logprobs=3).choices[0]
        log = choice.logprobs
        self.assertEqual("".join(log.tokens), choice.text)
        self.assertEqual(log.text_offset, list(range(len(PROMPT), len(PROMPT) + 40)))
        for token, own, top in zip(log.tokens, log.token_logprobs, log.top_logprobs, strict=True):
            self.assertIn(len(top), (3, 4))
            self.assertAlmostEqual(top[token], own, places=5)
            self.assertLessEqual(own, max(top.values()))
        text, _, tokens = collect(self.create(logprobs=3, stream=True))[0]
        self.assertEqual((text, tokens), (choice.text, log.tokens))

    def test_echo_gives_the_prompt_too(self):
        choice = self.create(echo=True, logprobs=1).choices[0]
        self.assertTrue(choice.text.startswith(PROMPT))
        self.assertEqual("".join(choice.logprobs.tokens), choice.text)
        self.assertEqual(choice.logprobs.text_offset, list(range(len(PROMPT) + 40)))
        self.assertIsNone(choice.logprobs.token_logprobs[0])
        self.assertTrue(all(value <= 0 for value in choice.logprobs.token_logprobs[1:]))
        self.assertEqual(choice.text[len(PROMPT) :], self.text())

    def test_a_prompt_can_be_scored_alone(self):
        answer = self.create(prompt="The lantern is out.", echo=True, logprobs=0, max_tokens=0)
        choice = answer.choices[0]
        self.assertEqual((choice.text, choice.finish_reason), ("The lantern is out.", "length"))
        self.assertEqual(len(choice.logprobs.token_logprobs), 19)
        self.assertEqual((answer.usage.prompt_tokens, answer.usage.completion_tokens), (19, 0))

    def test_a_bias_makes_an_id_certain_or_impossible(self):
        only = self.text(logit_bias={"20": 100})
        self.assertEqual(only, only[0] * 40)
        self.assertNotIn(only[0], self.text(logit_bias={"20": -100}, max_tokens=400))


class Models(Case):
    def test_the_models_are_listed_and_found_by_name(self):
        models = list(self.client.models.list())
        self.assertEqual([(model.id, model.object, model.owned_by) for model in models], [("demo", "model", "chargru")])
        self.assertEqual(self.client.models.retrieve("demo"), models[0])
        with self.assertRaises(openai.NotFoundError) as raised:
            self.client.models.retrieve("sea")
        self.assertEqual(raised.exception.code, "model_not_found")


class Errors(Case):
    def test_a_wrong_value_is_a_bad_request_with_its_field(self):
        for fields, param in (
            ({"temperature": -1}, "temperature"),
            ({"max_tokens": 1_000_000}, "max_tokens"),
            ({"n": 1_000}, "n"),
            ({"logprobs": 6}, "logprobs"),
            ({"top_p": 2}, "top_p"),
            ({"stop": ["a"] * 17}, "stop"),
            ({"prompt": "Füße"}, "prompt"),
            ({"prompt": [1, 2]}, "prompt[0]"),
            ({"best_of": 5}, "best_of"),
            ({"suffix": "end"}, "suffix"),
            ({"frequency_penalty": 0.5}, "frequency_penalty"),
            ({"extra_body": {"nonsense": 1}}, "nonsense"),
        ):
            for stream in (False, True):
                with self.subTest(fields=fields, stream=stream), self.assertRaises(openai.BadRequestError) as raised:
                    self.create(**fields, stream=stream)
                self.assertEqual(raised.exception.param, param)

    def test_a_model_that_is_not_there(self):
        with self.assertRaises(openai.NotFoundError) as raised:
            self.create(model="sea")
        self.assertEqual((raised.exception.param, raised.exception.code), ("model", "model_not_found"))
        self.assertIn("demo", str(raised.exception))

    def test_a_path_that_is_not_there(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.embeddings.create(model="demo", input="x")
        with self.assertRaises(openai.NotFoundError):
            self.client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "x"}])


class Key(Case):
    key = "correct-horse"
    flags = ("--api-key", key)

    def test_only_who_knows_the_key_is_served(self):
        for key in ("none", self.key[:-1], self.key.upper()):
            client = self.server.client(api_key=key)
            with self.assertRaises(openai.AuthenticationError) as raised:
                client.models.list()
            self.assertEqual(raised.exception.code, "invalid_api_key")
            with self.assertRaises(openai.AuthenticationError):
                client.completions.create(model="demo", prompt=PROMPT, stream=True)
        client = self.server.client(api_key=self.key)
        self.assertEqual(len(client.completions.create(model="demo", prompt=PROMPT).choices[0].text), 16)


class Full(Case):
    flags = ("--rows", "1", "--queue", "0")

    def test_a_server_that_is_full_says_so_and_then_serves(self):
        with self.create(max_tokens=16_384, stream=True) as stream:
            next(iter(stream))
            with self.assertRaises(openai.RateLimitError) as raised:
                self.create()
            self.assertEqual(raised.exception.code, "rate_limit_exceeded")
            self.assertEqual(raised.exception.response.headers["retry-after"], "1")
        # Its stream is closed: a client that tries again, as it usually does, is served.
        patient = self.server.client(max_retries=10)
        self.assertEqual(len(patient.completions.create(model="demo", prompt=PROMPT).choices[0].text), 16)


class Together(Case):
    def test_fifty_at_once_get_what_each_gets_alone(self):
        async def ask(client, seed, stream):
            fields = {"model": "demo", "prompt": PROMPT, "max_tokens": 200, "seed": seed, "stream": stream}
            answer = await client.completions.create(**fields)
            if not stream:
                return answer.choices[0].text
            return "".join([choice.text async for event in answer for choice in event.choices])

        async def all_at_once():
            async with openai.AsyncOpenAI(**self.server.settings()) as client:
                return await asyncio.gather(*(ask(client, seed, seed % 2 == 0) for seed in range(50)))

        texts = asyncio.run(all_at_once())
        self.assertEqual(texts, [self.text(seed=seed, max_tokens=200) for seed in range(50)])
        known = set(string.ascii_letters + string.digits + string.punctuation + " \n")
        self.assertLessEqual(set("".join(texts)), known)


class Stopped(Case):
    def test_a_server_that_stops_ends_its_streams_and_is_away(self):
        events = iter(self.create(max_tokens=16_384, n=16, stream=True))
        first = next(events)
        self.assertEqual(first.choices[0].finish_reason, None)
        self.server.process.terminate()
        choices = collect(events)
        self.assertEqual([finish for _, finish, _ in choices], ["length"] * 16)
        self.assertEqual(self.server.stop(), 0)
        with self.assertRaises(openai.APIConnectionError):
            self.create()


if __name__ == "__main__":
    unittest.main(verbosity=2)
