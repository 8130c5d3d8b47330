"""Ray as the fleet uses it, in this process: calls are done when they are asked for, and actors end when told to."""

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from thumbline.pipeline.scale.cluster import Size


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Call:
    def __init__(self, actor: "Actor", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.actor, self.function, self.arguments = actor, function, arguments


class Actor:
    """A stand-in for a handle: its methods have `remote`."""

    def __init__(self, made: Any, options: dict[str, Any]) -> None:
        self.made, self.options, self.is_dead, self.is_waiting = made, options, False, False

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.made, name)
        return SimpleNamespace(remote=lambda *arguments: Call(self, function, arguments))


class FakeRay:
    """One call at a time, whichever a generator draws; `ends` says of a call whether its actor ends before it."""

    exceptions = SimpleNamespace(RayError=RayError, RayActorError=RayActorError, RayTaskError=RayTaskError)

    def __init__(self, seed: int = 0, ends: Callable[[Call], bool] = lambda call: False) -> None:
        self.generator, self.ends = random.Random(seed), ends
        self.actors: list[Actor] = []
        # So many actors have a place; the others wait for one that is killed.
        self.most = 1000

    def remote(self, kind: type) -> Any:
        def options(**given: Any) -> Any:
            def remote(*arguments: Any) -> Actor:
                self.actors.append(Actor(kind(*arguments), given))
                return self.actors[-1]

            return SimpleNamespace(remote=remote)

        return SimpleNamespace(options=options)

    def wait(
        self, calls: Sequence[Call], num_returns: int, timeout: float | None = None
    ) -> tuple[list[Call], list[Call]]:
        alive = [actor for actor in self.actors if not actor.is_dead][: self.most]
        possible = [call for call in calls if call.actor in alive or call.actor.is_dead]
        # An actor does its calls in turn.
        first = [call for call in possible if next(one for one in possible if one.actor is call.actor) is call]
        chosen = [self.generator.choice(first)] if first else []
        return chosen, [call for call in calls if call not in chosen]

    def get(self, call: Call) -> Any:
        if call.actor.is_dead or self.ends(call):
            call.actor.is_dead = True
            raise RayActorError("The actor died unexpectedly before finishing this task.")
        try:
            return call.function(*call.arguments)
        except Exception as error:
            raise RayTaskError(error) from error

    def kill(self, actor: Actor, no_restart: bool) -> None:
        actor.is_dead = True


_SIZE = Size(8.0, 0.0, 4.0)


class FakePlace:
    def __init__(self, ray: FakeRay, size: Size = _SIZE) -> None:
        self.ray, self.size = ray, size
