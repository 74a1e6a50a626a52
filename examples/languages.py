"""What rounding a language identifier to 8 bits costs, by language, on the texts of Django.

python examples/languages.py [FOLDER]

py3langid is a naive Bayes model of over a hundred languages whose logits are far apart; each of
Django's catalogues has texts whose language is known. A file for each language and model is written
to FOLDER, then read as if it had always been there.
"""

import copy
import gettext
import sys
import tempfile
from pathlib import Path

import django
import numpy as np
from py3langid import langid

import lossgrad
from lossgrad import report

ROWS = 40  # texts of a language
LEAST = 30  # characters of a text


def catalogue(path):
    """The translations in a compiled catalogue that are long enough and have no blanks in them."""
    with path.open("rb") as file:
        found = gettext.GNUTranslations(file)._catalog
    texts = (text for key, text in found.items() if isinstance(key, str) and key)
    return [text for text in texts if len(text) >= LEAST and "%" not in text]


def rounded(weights):
    """To 8 bits for each class, as models are quantised."""
    wide = weights.astype(np.float32)
    least, scale = wide.min(axis=0), np.ptp(wide, axis=0) / 255
    return (least + np.rint((wide - least) / scale) * scale).astype(weights.dtype)


def models():
    """The model and its rounded twin."""
    full = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
    coarse = copy.copy(full)
    coarse.nb_ptc = rounded(coarse.nb_ptc)
    return {"logits": full, "coarse": coarse}


def write(folder):
    """LOCALE.logits.npy, LOCALE.coarse.npy and LOCALE.labels.npy of each; all languages, also in
    the file names, as `lossgrad evaluate --class-names` has them."""
    of = models()
    languages = sorted(of["logits"].labels)
    locales = Path(django.__file__).parent / "conf" / "locale"
    for path in sorted(locales.glob("*/LC_MESSAGES/django.mo")):
        locale = path.parts[-3]
        language, texts = locale.partition("_")[0], catalogue(path)[:ROWS]
        if language not in languages or not texts:
            continue
        for name, model in of.items():
            scores = [[score for _, score in sorted(model.rank(text))] for text in texts]
            np.save(folder / f"{locale}.{name}.npy", np.array(scores, np.float32))
        labels = np.full(len(texts), languages.index(language))
        np.save(folder / f"{locale}.labels.npy", labels)
    (folder / "names").write_text("\n".join(languages))
    return languages


def main(folder):
    languages = write(folder)
    logits, coarse, labels = (
        str(folder / f"*.{name}.npy") for name in ("logits", "coarse", "labels")
    )
    found = lossgrad.evaluate(logits, labels)
    print(f"{found.rows} texts in {len(languages)} languages: accuracy {found.accuracy:.3f}")
    print(f"loss {found.loss:.3f} +- {found.loss_error:.3f}, calibration error {found.ece:.3f}")
    report.write(folder / "report.html", found, class_names=languages)

    own = [np.load(path) for path in sorted(folder.glob("*.labels.npy"))]
    names = np.array(languages)[np.concatenate(own)]
    both = lossgrad.compare(logits, coarse, labels, groups=names, clusters=names)
    change = both.loss_difference
    print(f"in 8 bits {both.agreement.value:.1%} of the answers are the same")
    print(f"and the loss changes by {change.value:+.4f} +- {change.error:.4f}; most in")
    for name, group in sorted(both.groups.items(), key=lambda one: -one[1].kl.value)[:5]:
        print(f"  {name}: {group.kl.value:.4f} nats of divergence, {group.rows} texts")
    assert found.accuracy > 0.8
    assert both.kl.value > 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else scratch))
