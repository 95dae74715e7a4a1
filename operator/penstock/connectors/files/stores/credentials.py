"""The keys of a Secret that a store authenticates with."""

from dataclasses import dataclass

from penstock.language.errors import InvalidSpec
from penstock.worker.pod import Pod


@dataclass(frozen=True)
class SecretKeys:
    """One Secret of the Pod. `subject` is who asks, for messages. Values are read when they are asked for."""

    pod: Pod
    name: str
    subject: str

    def required(self, key: str) -> str:
        """The value of a key. Raises InvalidSpec (SecretMissing) when the Secret or the key is missing or empty."""
        value = self.optional(key)
        if value is None:
            message = f'{self.subject}: Secret {self.name} has no key "{key}". Add it.'
            raise InvalidSpec(message, "SecretMissing")
        return value

    def optional(self, key: str) -> str | None:
        """The value of a key, None when the key is missing or empty. Raises InvalidSpec when the Secret is missing."""
        return self.pod.secret(self.name, key) or None
