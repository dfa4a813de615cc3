"""A worker that learns to read handwritten digits, and that may be killed at any moment.

    penin run examples.evolve_digits:evolve
    penin run examples.evolve_digits:evolve -- generations=1000

It evolves a linear classifier of scikit-learn's digits with an evolution strategy. Whatever the
search needs to go on lives in the orchestrator, and each generation is one transaction:

    artifact  `champion`                 the best classifier so far, its results as metadata
    artifacts `centre` and `velocity`    the optimiser's arrays
    document  `progress`                 the optimiser's numbers
    document  `random`                   the state of the random generator
    a task and a score                   the generation and its accuracy

So a run that was killed, even by `kill -9`, and started again ends with the same champion, to the
last bit, as a run that was left alone. The search does its part by being deterministic: every
number follows from the stored ones, by sums whose order is fixed (see `class_scores`). Both runs
need the same numpy and the same kind of processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import anyio.to_thread
import numpy as np
import structlog
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from penin import AsyncOrchestrator, NumericVectorArtifact

Array = NDArray[np.float64]

CLASSES: Final = 10
INPUTS: Final = 8 * 8 + 1
"""The pixels of an image, and a constant one for the bias."""
WEIGHTS: Final = CLASSES * INPUTS
"""How many numbers make a classifier."""

STEP_SIZE: Final = 0.01
"""How far the first candidates are from the centre; the others are nearer and nearer."""
STEP_SIZE_DECAY: Final = 0.998
MOMENTUM: Final = 0.9
WEIGHT_DECAY: Final = 0.002
MARGIN: Final = 4.0
"""By how much the right digit's score is to beat the others."""

LOG_EVERY: Final = 20
"""Generations between two lines of the log."""

log = structlog.get_logger()


async def evolve(
    orchestrator: AsyncOrchestrator, generations: int = 600, population: int = 300, seed: int = 1
) -> None:
    """Go on from what the orchestrator holds, until `generations` are done or it is stopping.

    `population` and `seed` are for a search that begins. One that goes on keeps its own: with
    others it would be another search.
    """
    digits = await anyio.to_thread.run_sync(read_digits)
    search = await restore(orchestrator)
    if search is None:
        search = Search(Progress(population=population, seed=seed))
        log.info("evolution.begun", generations=generations, population=population, seed=seed)
    elif search.progress.generation >= generations:
        log.info("evolution.already_finished", **search.results())
        return
    else:
        log.info("evolution.resumed", generations=generations, **search.results())

    while search.progress.generation < generations and not orchestrator.stopping.is_set():
        # In a thread: the event loop stays free for the journal, for signals, for other workers.
        task = await anyio.to_thread.run_sync(search.advance, digits)
        await store(orchestrator, search, task)
        if search.progress.generation % LOG_EVERY == 0:
            log.info("evolution.generation", **search.results())

    is_finished = search.progress.generation >= generations
    event = "evolution.finished" if is_finished else "evolution.stopped"
    log.info(event, **search.results())


# -- between the search and the orchestrator --------------------------------------------------


async def store(orchestrator: AsyncOrchestrator, search: Search, task: dict[str, Any]) -> None:
    """Make one generation durable: all of it, or after a crash nothing of it."""
    async with orchestrator.transaction() as t:
        t.add_task(task)
        t.add_score(task["accuracy"])
        t.add_knowledge("centre", NumericVectorArtifact(search.centre))
        t.add_knowledge("velocity", NumericVectorArtifact(search.velocity))
        t.put_document("progress", search.progress)
        t.put_document("random", search.random.bit_generator.state)
        if search.champion is not None and task["is_champion"]:
            t.add_knowledge("champion", search.champion)


async def restore(orchestrator: AsyncOrchestrator) -> Search | None:
    """The search as its last stored generation left it; None if there was none."""
    progress = await orchestrator.get_document("progress", type=Progress)
    centre = await orchestrator.get("centre")
    velocity = await orchestrator.get("velocity")
    champion = await orchestrator.get("champion")
    if progress is None or centre is None or velocity is None or champion is None:
        return None  # all of them or none: they are always stored together
    search = Search(progress)
    search.centre = centre.array
    search.velocity = velocity.array
    search.champion = champion
    search.random.bit_generator.state = await orchestrator.get_document("random")
    return search


# -- the search -------------------------------------------------------------------------------


@dataclass
class Progress:
    """The numbers of a search: how it began and how far it is."""

    population: int
    seed: int
    generation: int = 0
    step_size: float = STEP_SIZE


class Search:
    """An evolution strategy: it tries steps around a centre, and moves it towards the good ones."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.random = np.random.default_rng(progress.seed)
        self.centre: Array = np.zeros(WEIGHTS)
        self.velocity: Array = np.zeros(WEIGHTS)
        self.champion: NumericVectorArtifact | None = None

    def advance(self, digits: Digits) -> dict[str, Any]:
        """Do one generation; what is to be recorded of it.

        Only what `store` stores may outlive a generation, or a search that was stored and
        restored would go on differently.
        """
        progress = self.progress
        half = self.random.standard_normal((max(1, progress.population // 2), WEIGHTS))
        steps = np.concatenate([half, -half])  # mirrored: each step is tried both ways
        losses = [loss_of(self.centre + progress.step_size * step, digits.train) for step in steps]
        # Only the ranks of the losses count: the best step pulls with 1, the worst pushes with -1.
        pulls = np.empty(len(steps))
        pulls[np.argsort(losses, kind="stable")] = np.linspace(1.0, -1.0, len(steps))
        direction = (pulls[:, np.newaxis] * steps).sum(axis=0) * (2 / len(steps))

        self.velocity = MOMENTUM * self.velocity + progress.step_size * direction
        self.centre = (1 - WEIGHT_DECAY) * self.centre + self.velocity
        progress.step_size *= STEP_SIZE_DECAY
        progress.generation += 1
        return self._judge(digits)

    def _judge(self, digits: Digits) -> dict[str, Any]:
        """Measure the new centre, which is the champion if it is better than the one so far."""
        generation = self.progress.generation
        loss = loss_of(self.centre, digits.validate)
        accuracy = accuracy_of(self.centre, digits.validate)
        is_champion = self.champion is None or loss < self.champion.metadata["loss"]
        if is_champion:
            found = {"generation": generation, "loss": loss, "accuracy": accuracy}
            found["test_accuracy"] = accuracy_of(self.centre, digits.test)
            self.champion = NumericVectorArtifact(self.centre, found)
        return {
            "generation": generation,
            "loss": loss,
            "accuracy": accuracy,
            "is_champion": is_champion,
        }

    def results(self) -> dict[str, Any]:
        """How far the search is and how good its champion, for the log."""
        results: dict[str, Any] = {"generation": self.progress.generation}
        if self.champion is not None:
            champion = self.champion.metadata
            results["champion_generation"] = champion["generation"]
            results["accuracy"] = champion["accuracy"]
            results["test_accuracy"] = round(champion["test_accuracy"], 4)
        return results


# -- the classifier ---------------------------------------------------------------------------


class Images(NamedTuple):
    """Images as columns of shape (INPUTS, n), and the digit that each of them shows."""

    inputs: Array
    labels: NDArray[np.int64]


class Digits(NamedTuple):
    """Scikit-learn's images of handwritten digits, which ship with it, in three parts."""

    train: Images
    """What the search learns from."""
    validate: Images
    """What tells how good a generation is, and so chooses the champion."""
    test: Images
    """What chooses nothing: the champion does as well on images that nobody has seen."""


def read_digits() -> Digits:
    """The digits in an order that is random, and the same every time."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    inputs = np.column_stack([pixels / 16, np.ones(len(labels))])[order].T
    cuts = [1000, 1400]  # of 1797
    parts = zip(np.split(inputs, cuts, axis=1), np.split(labels[order], cuts), strict=True)
    return Digits(*(Images(np.ascontiguousarray(columns), digits) for columns, digits in parts))


def class_scores(weights: Array, images: Images) -> Array:
    """How much each image looks like each digit: shape (CLASSES, n).

    By einsum, which adds in one order, and not by `@`: that is BLAS, whose sums may differ in
    their last bits with the number of its threads.
    """
    scores: Array = np.einsum("ci,in->cn", weights.reshape(CLASSES, INPUTS), images.inputs)
    return scores


def loss_of(weights: Array, images: Images) -> float:
    """By how much the right digits fail to beat the others by MARGIN, summed over the images."""
    scores = class_scores(weights, images)
    right = images.labels, np.arange(len(images.labels))
    right_scores = scores[right] - MARGIN
    scores[right] = right_scores
    return float((scores.max(axis=0) - right_scores).sum())


def accuracy_of(weights: Array, images: Images) -> float:
    """The share of the images that are recognised."""
    return float((class_scores(weights, images).argmax(axis=0) == images.labels).mean())
