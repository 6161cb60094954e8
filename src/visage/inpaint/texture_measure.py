"""What a texture encoder is worth on people it has never seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visage.inpaint.prompt import MISSING
from visage.inpaint.record import Row
from visage.inpaint.texture_data import TextureSamples
from visage.inpaint.texture_net import TextureNetwork
from visage.inpaint.texture_task import HEADS
from visage.metrics.classification import accuracy, confusion_matrix, macro_f1, majority_baseline

NOT_MEASURED = "not measured"
UNIFORMITY = 2.0  # t of exp(-t |x - y|^2)


@dataclass(frozen=True, eq=False)
class Seen:
    """Pictures as the encoder sees them. embedding: N x D float64 of unit length, the mean over views. views: for each
    picture V x P, the projections. chances: N x classes for each of `HEADS`, the mean over views."""

    rows: Sequence[Row]
    embedding: NDArray[np.float64]
    views: Sequence[NDArray[np.float64]]
    chances: Mapping[str, NDArray[np.float64]]

    def labels(self, name: str) -> NDArray[np.int64]:
        """The labels of "curl" or "volume", -1 where there is none."""
        return np.array([getattr(row, name) for row in self.rows], np.int64)


def look(network: TextureNetwork, samples: TextureSamples, count: int) -> Seen:
    """Show the pictures of `samples` to the network, `count` parts of each."""
    network.eval()
    embeddings, views = [], []
    chances: dict[str, list[NDArray[np.float64]]] = {name: [] for name in HEADS}
    for row in range(len(samples.rows)):
        with torch.inference_mode():
            found = network(torch.from_numpy(samples.looks(row, count)))
        mean = found.embedding.double().mean(0)
        embeddings.append((mean / mean.norm().clamp(min=1e-12)).numpy())
        views.append(found.projection.double().numpy())
        for name in HEADS:
            logits: Tensor = getattr(found, name)
            chances[name].append(logits.double().softmax(1).mean(0).numpy())
    return Seen(samples.rows, np.stack(embeddings), views, {name: np.stack(each) for name, each in chances.items()})


def measure(test: Seen, train: Seen) -> dict[str, Any]:
    """The numbers of `metrics/train_texture.json` that are of `test`: for curl and volume accuracy, macro F1, the
    majority class of `train` as baseline, kNN of the embedding among `train`; alignment and uniformity (Wang and Isola,
    ICML 2020) of the projection. A number that the data do not give reads "not measured"."""
    result: dict[str, Any] = {"pictures": len(test.rows), "sources": len({row.source for row in test.rows})}
    for name, classes in HEADS.items():
        truth, known = test.labels(name), test.labels(name) != MISSING
        of_train = train.labels(name)
        learned = of_train != MISSING
        if not known.any() or not learned.any():
            result[name] = NOT_MEASURED
            continue
        told = test.chances[name].argmax(1)
        confusion = confusion_matrix(truth[known], told[known], len(classes))
        majority = int(np.bincount(of_train[learned]).argmax())
        blind = confusion_matrix(truth[known], np.full(int(known.sum()), majority), len(classes))
        result[name] = {
            "accuracy": round(accuracy(confusion), 4),
            "macro_f1": round(macro_f1(confusion), 4),
            "majority_accuracy": round(majority_baseline(of_train[learned], truth[known]), 4),
            "majority_macro_f1": round(macro_f1(blind), 4),
        }
        for count in (1, 5):
            answer = neighbours_say(test.embedding[known], train.embedding[learned], of_train[learned], count)
            result[name][f"knn{count}"] = round(float(np.mean(answer == truth[known])), 4)
    result["alignment"] = round(alignment(test), 4)
    result["uniformity"] = round(uniformity(test), 4)
    return result


def neighbours_say(
    queries: NDArray[np.float64], known: NDArray[np.float64], labels: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """The label that most of the `count` nearest of `known` (by cosine) have, for each query; the nearer class of
    equals."""
    order = np.argsort(-(queries @ known.T), axis=1, kind="stable")[:, :count]
    votes = labels[order]
    return np.array([max(row.tolist(), key=lambda label: (row == label).sum()) for row in votes], np.int64)


def alignment(seen: Seen) -> float:
    """The mean squared distance of the projections of two views of one picture; 0 is perfect."""
    pairs = [np.square(views[:, None] - views[None]).sum(2) for views in seen.views]
    return float(np.mean([table.sum() / max(len(table) * (len(table) - 1), 1) for table in pairs]))


def uniformity(seen: Seen) -> float:
    """log of the mean of exp(-2 |x - y|^2) over pairs of pictures' first projections; -4 is spread evenly, 0 is one
    point."""
    first = np.stack([views[0] for views in seen.views])
    apart = np.square(first[:, None] - first[None]).sum(2)[np.triu_indices(len(first), 1)]
    return float(np.log(np.mean(np.exp(-UNIFORMITY * apart)))) if len(apart) else 0.0
