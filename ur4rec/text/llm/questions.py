"""From what is to be written to what is asked."""

from __future__ import annotations

from ur4rec.text.config import WritingConfig
from ur4rec.text.llm.answer_book import Question
from ur4rec.text.llm.chat import ChatRequest
from ur4rec.text.llm.prompts import Prompt, PromptError, Subject, load_prompt
from ur4rec.text.requests import ItemRequest, UserRequest

SEED = 0


class Questions:
    """Prompts about items and users, keyed for the cache.

    Args:
        config: Provider, model, prompts.

    Raises:
        PromptError: A prompt file cannot be used.
    """

    def __init__(self, config: WritingConfig) -> None:
        self.config = config
        self.prompts: dict[type[ItemRequest] | type[UserRequest], Prompt] = {
            ItemRequest: _load_prompt("text_item_prompt", config.text_item_prompt, "item"),
            UserRequest: _load_prompt("text_user_prompt", config.text_user_prompt, "user"),
        }

    @property
    def versions(self) -> list[str]:
        """Names, versions and digests of the two prompts."""
        return [prompt.version for prompt in self.prompts.values()]

    def ask(self, request: ItemRequest | UserRequest) -> Question:
        """The prompt about one subject."""
        prompt = self.prompts[type(request)]
        chat = ChatRequest(
            provider=self.config.text_provider,
            model=self.config.text_model,
            prompt_version=prompt.version,
            messages=prompt.render(request),
            temperature=self.config.text_temperature,
            max_tokens=prompt.max_tokens,
            seed=SEED,
            json_object=True,
            request_fields=self.config.text_request_fields,
        )
        return Question(prompt, chat)


def _load_prompt(key: str, name_or_path: str, subject: Subject) -> Prompt:
    prompt = load_prompt(name_or_path)
    if prompt.file.subject != subject:
        raise PromptError(f"{key}: {name_or_path}: is a prompt about one {prompt.file.subject}, expected {subject}")
    return prompt
