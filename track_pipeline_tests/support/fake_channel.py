"""An alert channel that is a list."""

from dataclasses import dataclass, field


@dataclass
class FakeChannel:
    """Records alerts (title, body, whether it is a recovery). Fails while `works` is False."""

    works: bool = True
    told: list[tuple[str, str, bool]] = field(default_factory=list)

    def tell(self, title: str, body: str, *, is_recovery: bool = False) -> bool:
        if self.works:
            self.told.append((title, body, is_recovery))
        return self.works

    @property
    def titles(self) -> list[str]:
        return [title for title, _, _ in self.told]
