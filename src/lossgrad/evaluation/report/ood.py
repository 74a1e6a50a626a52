"""The page of rows inside and outside a distribution."""

from collections.abc import Sequence

from lossgrad.evaluation.passes.ood import OutOfDistribution
from lossgrad.evaluation.report import curves, plots
from lossgrad.evaluation.report.body import Body, body
from lossgrad.evaluation.report.elements import facts, images, section


@body.register
def _(result: OutOfDistribution, top_k: Sequence[int], class_names: Sequence[str] | None) -> Body:
    curve = images(plots.plot(curves.elsewhere, result, "ROC of rows inside and outside"))
    title = f"{result.inside} rows inside a distribution, {result.outside} outside"
    return Body(title, [facts(result.lines()), section("Ranking", curve)])
