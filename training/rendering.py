"""Conversations through a chat template: where the answer begins, and what it is made of.

An answer has a lead, which the template writes before the text, and a body. The lead of a template
with a thinking part is that part, empty or not; it stands behind the control token:

    prompt, generation prompt | control token | <think> ... </think> | text | end of turn
                                              `------- lead --------'`----- body -----'
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from training.errors import TrainingError
from training.records import Message, Prompt
from training.tools import as_rendered

_MARK = "0answer0"
"""Stands for an answer's text, to see what the template writes before it."""

_THINKING_OPENED = re.compile(r"<think>\s*\Z")


class EncodingError(TrainingError):
    """A record cannot be encoded with this tokenizer and chat template."""


@dataclass(frozen=True)
class Answer:
    """Token ids of an answer; `lead` is empty for templates that write nothing before the text."""

    lead: list[int]
    body: list[int]
    """The text and the token that ends the turn."""


def render(
    tokenizer: PreTrainedTokenizerBase, conversation: Prompt, *, answered: bool = False
) -> str:
    """Render it by the chat template: with the generation prompt, unless `answered`.

    Raises EncodingError if the template refuses them, as some do with system prompts, or if the
    tokenizer has none.
    """
    if not tokenizer.chat_template:
        raise EncodingError("the tokenizer has no chat template")
    turns = [_turn(message) for message in conversation.messages]
    try:
        return str(
            tokenizer.apply_chat_template(
                turns,
                tools=as_rendered(conversation.tools) or None,
                tokenize=False,
                add_generation_prompt=not answered,
            )
        )
    except TemplateError as error:
        roles = ", ".join(message.role for message in conversation.messages)
        raise EncodingError(
            f"the chat template refuses a conversation of the roles {roles}: {error}"
        ) from error


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of a prompt up to where the answer begins. Raises EncodingError."""
    ids: list[int] = tokenizer.encode(render(tokenizer, prompt), add_special_tokens=False)
    return ids


def answer_of(tokenizer: PreTrainedTokenizerBase, prompt: str, conversation: Prompt) -> Answer:
    """The last turn of a conversation, up to the token that ends it.

    prompt: what stands before it, rendered. What the template writes behind the end of the turn
    (a newline, say) is left out: generation stops before it.
    Raises EncodingError if the turn spells a special token, or if the rendered conversation does
    not start with `prompt`, leaves out its thinking, or ends it with no special token.
    """
    last = conversation.messages[-1]
    _check_spelling(tokenizer, last.content)
    text = _answer_text(tokenizer, prompt, conversation)
    thinking = last.thinking
    if thinking is not None and thinking.strip() not in text:
        raise EncodingError(f"the chat template leaves out the thinking of the answer {text!r}")
    lead = _lead(tokenizer, prompt, conversation, text)
    return Answer(
        tokenizer.encode(lead, add_special_tokens=False) if lead else [],
        _up_to_end(tokenizer, text[len(lead) :]),
    )


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token that ends an answer in this tokenizer's chat template.

    The end-of-sequence token where the template writes it; Gemma's, for one, ends turns with
    another. Raises EncodingError if it writes no special token there.
    """
    prompt = Prompt.asking("Hello")
    answered = Prompt((*prompt.messages, Message("assistant", "Hello")))
    return answer_of(tokenizer, render(tokenizer, prompt), answered).body[-1]


def _turn(message: Message) -> dict[str, str]:
    turn = message.as_dict()
    # The name by which templates of models that think ask for it.
    return turn if message.thinking is None else turn | {"reasoning_content": message.thinking}


def _answer_text(tokenizer: PreTrainedTokenizerBase, prompt: str, conversation: Prompt) -> str:
    text = render(tokenizer, conversation, answered=True)
    if text.startswith(prompt):
        return text[len(prompt) :]
    # DeepSeek-R1's template opens the thinking in the generation prompt, and leaves all of it out
    # of finished turns.
    opened = _THINKING_OPENED.search(prompt)
    if opened and text.startswith(prompt[: opened.start()]):
        thinking = conversation.messages[-1].thinking or ""
        return f"{thinking}\n</think>\n\n{text[opened.start() :]}"
    raise EncodingError(
        "the chat template does not render the prompt as the beginning of the conversation:"
        f" {prompt!r} against {text!r}"
    )


def _lead(tokenizer: PreTrainedTokenizerBase, prompt: str, conversation: Prompt, text: str) -> str:
    """What of the answer `text` the template, or the thinking, puts before the turn's content.

    White space alone is no lead: tokenizers join it to the word behind it.
    """
    *before, last = conversation.messages
    if text.lstrip().startswith(last.content.strip()):
        return ""
    marked = replace(conversation, messages=(*before, replace(last, content=_MARK)))
    lead, found, _ = _answer_text(tokenizer, prompt, marked).partition(_MARK)
    return lead if found and text.startswith(lead) else ""


def _check_spelling(tokenizer: PreTrainedTokenizerBase, content: str) -> None:
    ids: list[int] = tokenizer.encode(content, add_special_tokens=False)
    if spelled := _special(tokenizer, ids):
        token = tokenizer.convert_ids_to_tokens(ids[spelled[0]])
        raise EncodingError(
            f"the answer {content!r} spells {token!r}, a special token of this tokenizer, which may"
            " end it there: change the record"
        )


def _special(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[int]:
    """Places of special tokens in `ids`."""
    # Not `all_special_ids`, which Gemma's end of a turn, for one, is not among.
    added = tokenizer.added_tokens_decoder
    end = tokenizer.eos_token_id
    return [
        place
        for place, token in enumerate(ids)
        if token == end or (token in added and added[token].special)
    ]


def _up_to_end(tokenizer: PreTrainedTokenizerBase, body: str) -> list[int]:
    ids: list[int] = tokenizer.encode(body, add_special_tokens=False)
    if tokenizer.eos_token_id in ids:
        return ids[: ids.index(tokenizer.eos_token_id) + 1]
    if special := _special(tokenizer, ids):
        return ids[: special[-1] + 1]
    raise EncodingError(
        f"the chat template ends an answer neither with {tokenizer.eos_token!r}, the tokenizer's"
        f" end-of-sequence token, nor with another special token: {body!r}"
    )
