"""A tape run backwards, for several rows of a Jacobian at a time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from zeroshot.passes.tape.rows import Gradient, Gradients, Rows
from zeroshot.passes.tape.steps import Convolution, Convolved, Norm, Normalised, Opaque, Rule, Step
from zeroshot.passes.tape.windows import Source


class Replay:
    """Carries gradients back through the steps of a tape.

    What it works out for convolutions of one map is kept from one call to the next.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._sources: dict[object, Source] = {}

    @property
    def nbytes(self) -> int:
        """About what `rows` keeps from one call to the next, at most."""
        return sum(step.conv.nbytes for step in self._steps if isinstance(step, Convolved))

    def rows_of(
        self, answers: Float[Tensor, "n ..."], leaves: tuple[Tensor, ...], chunk: int
    ) -> Iterator[tuple[Float[Tensor, "chunk ..."] | None, ...]]:
        """The Jacobian of every sample's summed answers, `chunk` rows at a time.

        None for a leaf that reaches nothing.
        """
        n = len(answers)
        for picks in torch.eye(n, dtype=answers.dtype, device=answers.device).split(chunk):
            wide = picks.T.view(n, *[1] * (answers.ndim - 1), len(picks))
            with torch.no_grad():
                found = self.rows(answers, wide.expand(*answers.shape, -1))
            rows = (found.get(id(leaf)) for leaf in leaves)
            yield tuple(None if row is None else row.movedim(-1, 0) for row in rows)

    def rows(self, output: Tensor, gradients: Rows) -> dict[int, Rows]:
        """Gradients of every leaf that is reached, by its id, from gradients of an output."""
        found = Gradients()
        found.add([(output, Gradient(gradients))])
        # By map: the convolutions that read it, which wait for all others that do.
        waiting: dict[int, list[tuple[Convolution, Norm | None, Gradient]]] = {}
        for step in reversed(self._steps):
            for tensor in step.outputs:
                self._settle(waiting.pop(id(tensor), ()), found)
            told = [found.take(id(tensor)) for tensor in step.outputs]
            member = self._member(step)
            if isinstance(step, Opaque):
                found.add(step.back(told))
            elif told[0] is None:
                continue
            elif member is not None:
                waiting.setdefault(id(member[0].maps), []).append((*member, told[0]))
            elif isinstance(step, Rule):
                found.add(step.back(told[0]))
        for readers in waiting.values():
            self._settle(readers, found)
        return {key: left.whole for key in found.left() if (left := found.take(key)) is not None}

    def _member(self, step: Step) -> tuple[Convolution, Norm | None] | None:
        """The convolution that a step is, or is the only one to read and normalise."""
        if isinstance(step, Convolved):
            return step.conv, None
        if isinstance(step, Normalised) and id(step.inputs[0]) in self._read_once:
            return self._read_once[id(step.inputs[0])], step.norm
        return None

    @cached_property
    def _read_once(self) -> dict[int, Convolution]:
        """Convolutions whose output one step alone reads, by the output's id."""
        readers = Counter(id(tensor) for step in self._steps for tensor in step.inputs)
        convolved = {
            id(step.outputs[0]): step.conv for step in self._steps if isinstance(step, Convolved)
        }
        return {key: conv for key, conv in convolved.items() if readers[key] == 1}

    def _settle(
        self, readers: Iterable[tuple[Convolution, Norm | None, Gradient]], found: Gradients
    ) -> None:
        """Carry gradients back through all convolutions of one map."""
        kin: dict[object, dict[object, list[tuple[Convolution, Norm | None, Gradient]]]] = {}
        for conv, norm, told in readers:
            groups = kin.setdefault(conv.kin, {})
            name = id(told.rows), told.scale, norm is None
            groups.setdefault(name, []).append((conv, norm, told))
        for groups in kin.values():
            name = tuple(tuple(id(conv) for conv, *_ in group) for group in groups.values())
            if name not in self._sources:
                members = [
                    tuple((conv, norm) for conv, norm, _ in group) for group in groups.values()
                ]
                self._sources[name] = Source(members)
            gradients = [group[0][2] for group in groups.values()]
            found.add(self._sources[name].back(gradients))
