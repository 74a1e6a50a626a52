"""Links of a built site to itself: python docs/links.py FOLDER says which lead nowhere.

What is loaded has to lie in the folder: the site is whole without a network.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("link", "href")}


class Page(HTMLParser):
    """The links of a page, and the places on it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places = [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places.update(filter(None, (given.get("id"), given.get("name"))))
        for name in ("href", "src"):
            if link := given.get(name):
                self.links.append((tag, name, link))


def wrong(folder):
    """A line for each link that leads nowhere, and for each thing that is loaded from elsewhere."""
    found = (path.resolve() for path in folder.rglob("*.html") if "_static" not in path.parts)
    pages = {path: Page(path) for path in found}
    for path, page in pages.items():
        for tag, name, link in page.links:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                if (tag, name) in LOADED and to.scheme != "data":
                    yield f"{path.name}: loads {link}"
                continue
            target = (path.parent / unquote(to.path)).resolve() if to.path else path
            if not target.exists():
                yield f"{path.name}: {link} is not there"
            elif target in pages and unquote(to.fragment) not in pages[target].places:
                yield f"{path.name}: {link}: no such place on the page"


def main(folder):
    lines = sorted({*wrong(Path(folder))})
    print("\n".join(lines) or "every link leads somewhere")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
