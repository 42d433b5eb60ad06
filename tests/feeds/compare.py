#!/usr/bin/python3 -B
"""Imports YML feeds through the real binary and compares every item, over TLS and in an export, with what lxml reads in the feed.

    tests/env/throwaway.sh target/debug tests/feeds/compare.py target/debug [--refresh] [FEED…]
    tests/feeds/compare.py --generate FILE --rows 20000 [--names TSV] [--edition 1]

A FEED is a file, a directory, or the feeds of cities: moscow=FILE,spb=FILE. Exit status: 0 equal, 1 differences.
"""

import argparse
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
from decimal import Decimal
from pathlib import Path

import feed as yml
from generate import generate

BRAND = "dexar"
SHOWN = 10
SECONDS_UNTIL_SHOWN = 30
# Elements that are a field of the description as they stand.
FIELDS = ("vendor", "vendorCode", "barcode", "country_of_origin", "weight", "sales_notes", "certificate")
# Elements that an export has as members of "attributes".
ATTRIBUTES = {"vendor": "vendor", "vendorCode": "vendorCode", "model": "model", "keywords": "keywords", "weight": "weight",
              "dimensions": "dimensions", "sales_notes": "salesNotes"}
FLAGS = ("delivery", "pickup", "store", "adult")
STATE = Path(os.environ.get("STATE", "."))


class Api:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=STATE / "ca.pem")
        self.connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=60)

    def get(self, path, region=None):
        headers = {"Accept": "application/json"} | ({"X-Region": region} if region else {})
        self.connection.request("GET", path, headers=headers)
        response = self.connection.getresponse()
        body = response.read()
        return response.status, json.loads(body, parse_float=Decimal) if body else None

    def item(self, offer_id, region=None):
        status, item = self.get("/item/" + urllib.parse.quote(f"item_{offer_id}", safe=""), region)
        return item if status == 200 else None

    def wait_for(self, marker):
        """Waits until the gateway shows an import that was made after all others."""
        deadline = time.monotonic() + SECONDS_UNTIL_SHOWN
        while all(region["city"] != marker for region in self.get("/regions")[1]):
            if time.monotonic() > deadline:
                sys.exit(f"the gateway does not show an import after {SECONDS_UNTIL_SHOWN} s")
            time.sleep(0.02)


class Shop:
    """A brand of the throwaway site, and the commands on its catalogue."""

    def __init__(self, binaries):
        self.command = [f"{binaries}/brandgate", "catalog"]
        self.environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(STATE / "credentials")}
        self.markers = 0

    def run(self, *arguments):
        command = [*self.command, arguments[0], "--brands", STATE / "brands", "--brand", BRAND, *arguments[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment)

    def import_records(self, records):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
            file.flush()
            done = self.run("import", file.name)
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)

    def mark(self):
        """Imports something new, and returns what it shows."""
        self.markers += 1
        marker = f"Marker {os.getpid()}.{self.markers}"
        self.import_records([{"id": "marker", "city": marker, "country": "Marker", "countryCode": "RU"}])
        return marker

    def exported(self):
        document = json.loads(self.run("export").stdout, parse_float=Decimal)
        return {item["id"]: item for item in document["items"]}

    def clear(self):
        """Deletes the catalogue, so that a feed is compared with itself alone."""
        services = dict(re.findall(r"^(PG_\w+)=[\"']?([^\"'\n]*)", (STATE / "services.env").read_text(), re.M))
        sql = f"set search_path = {BRAND};" + "".join(
            f"delete from {table};" for table in ("item", "category", "stock_count", "import_source", "item_stock")
        )
        command = [f"{services['PG_BIN']}/psql", "-Xqd", "brandgate", "-h", services["PG_HOST"], "-p", services["PG_PORT"], "-U", "postgres"]
        environment = {**os.environ, "PGPASSWORD": (STATE / "pg.password").read_text().strip()}
        subprocess.run([*command, "-v", "ON_ERROR_STOP=1", "-c", sql], check=True, env=environment)


class Feed:
    """The offers of a file that count: the first one of each id."""

    def __init__(self, root, region=None):
        self.region, self.offers = region, {}
        self.base = (root.findtext("shop/url") or "").strip().rstrip("/")
        self.categories, self.rates = yml.categories_of(root), yml.rates_of(root)
        for offer in root.iterfind(".//offers/offer"):
            offer_id = yml.line(offer.get("id"))
            if offer_id:
                self.offers.setdefault(offer_id, offer)
        # Without names it is a delta of prices and stock.
        self.has_names = any(yml.name_of(offer) for offer in self.offers.values())

    def category_of(self, offer):
        return next((yml.line(text) for text in yml.texts(offer, "categoryId")), None)

    def is_usable(self, offer):
        price = yml.decimal(yml.first(offer, "price"))
        return not self.has_names or bool(yml.name_of(offer) and price and self.category_of(offer) in self.categories)


class Comparison:
    def __init__(self, feed, shop, api, is_whole):
        self.feed, self.api, self.exported, self.is_whole = feed, api, shop.exported(), is_whole
        self.differences, self.compared, self.counted = {}, 0, {}
        self.paths = {}
        self.counts = {}
        self.walk(api.get("/category")[1], [])

    def walk(self, categories, above):
        for category in categories or []:
            path = [*above, category["name"]]
            # Subcategories have no number.
            for key in ("categoryID", "id"):
                if category.get(key):
                    self.paths[category[key]] = path
                    self.counts[category[key]] = category.get("itemCount")
            self.walk(category.get("subcategories"), path)

    def differ(self, kind, offer_id, expected, found):
        if expected != found:
            self.differences.setdefault(kind, []).append(f"{offer_id}: expected {expected!r}, found {found!r}")

    def offer(self, offer_id, offer):
        item, feed = self.api.item(offer_id), self.feed
        if item is None:
            self.differ("missing", offer_id, feed.is_usable(offer), False)
            return
        self.compared += 1
        name = yml.name_of(offer)
        if name:
            self.differ("name", offer_id, name[:500], item["name"])
        self.price(offer, offer_id, item)
        self.stock(offer, offer_id, item)
        if feed.has_names:
            self.media(offer, offer_id, item)
            self.category(offer, offer_id, item)
        self.fields(offer, offer_id, item)
        self.export(offer, offer_id, item)

    def media(self, offer, offer_id, item):
        photos = item.get("photos", [])
        pictures = yml.pictures_of(offer, self.feed.base)
        self.differ("pictures", offer_id, pictures, [photo["url"] for photo in photos if photo.get("type") != "video"])
        self.differ("imgs", offer_id, pictures, item["imgs"])
        videos = yml.videos_of(offer, self.feed.base)
        self.differ("videos", offer_id, videos, [photo["url"] for photo in photos if photo.get("type") == "video"])

    def category(self, offer, offer_id, item):
        expected = self.feed.categories.get(self.feed.category_of(offer))
        key = item.get("subcategoryId") or item.get("categoryID")
        self.counted[key] = self.counted.get(key, 0) + 1
        if expected:
            self.differ("category", offer_id, expected, self.paths.get(key))

    def price(self, offer, offer_id, item):
        prices = yml.prices_of(offer, self.feed.rates)
        if prices is None:
            return
        listed, paid, currency = prices
        price, discount = Decimal(item["price"]), Decimal(item.get("discount") or 0)
        self.differ("currency", offer_id, currency, item["currency"])
        self.differ("crossed-out price", offer_id, listed, yml.kopecks(price))
        self.differ("whole discount", offer_id, True, discount == int(discount) and 0 <= discount < 100)
        # What a front end shows that knows nothing of a sale price: at most the discount's rounding more, and never less.
        computed = yml.kopecks(price * (100 - discount) / 100)
        self.differ("discounted price", offer_id, True, paid <= computed and (computed - paid) * 100 < max(listed, 1))
        self.differ("price", offer_id, paid, yml.kopecks(Decimal(item.get("salePrice", computed))))
        self.differ("sale price where it is needed", offer_id, computed != paid, "salePrice" in item)

    def stock(self, offer, offer_id, item):
        expected = yml.stock_of(offer)
        if isinstance(expected, int):
            self.differ("quantity", offer_id, expected, item.get("quantity"))
        elif expected:
            self.differ("stock", offer_id, expected == "out", item.get("remainings") == "out")
        for element, member in (("min-quantity", "minQuantity"), ("step-quantity", "stepQuantity")):
            lot = yml.lot_of(offer, element)
            if lot or self.is_whole:
                self.differ(member, offer_id, lot or None, item.get(member))

    def fields(self, offer, offer_id, item):
        fields = {field["key"]: field["value"] for field in item.get("descriptionFields", [])}
        values, expected = set(fields.values()), set()
        for element in FIELDS:
            texts = [yml.line(text) for text in yml.texts(offer, element)]
            if texts and self.differ_from_any(element, offer_id, ", ".join(dict.fromkeys(texts)), values):
                expected.add(element)
        params = {}
        for param in offer.iterfind("param"):
            key, value = yml.line(param.get("name"))[:200], yml.param_value(param)
            if key and value:
                unit = yml.line(param.get("unit"))
                values_of = params.setdefault(key, [])
                value = f"{value} {unit}" if unit else value
                if value not in values_of:
                    values_of.append(value)
        for key, values_of in params.items():
            wanted, found = ", ".join(values_of), fields.get(key, "")
            # A field of another element may have the same key; very long values are cut.
            if wanted[:1500] not in found[:1500]:
                self.differ("param", offer_id, f"{key}={wanted}", found)
        for element in ("model", "typePrefix"):
            text = yml.first(offer, element)
            if text and yml.first(offer, "name"):
                self.differ_from_any(element, offer_id, yml.line(text), values)
        if self.is_whole and not params and not any(len(offer.findall(e)) for e in (*FIELDS, *self.OTHER_FIELDS)):
            self.differ("fields", offer_id, {}, fields)
        words = yml.description_of(offer)
        if words is not None:
            found = yml.words(item.get("description"))
            self.differ("description", offer_id, "".join(words)[:15000], "".join(found)[:15000])
        elif self.is_whole and offer.find("description") is None:
            self.differ("description", offer_id, "", item.get("description"))

    OTHER_FIELDS = ("model", "typePrefix", "condition", "dimensions", "age", "manufacturer_warranty", "warranty-days",
                    "service-life-days", "period-of-validity-days", "expiry")

    def differ_from_any(self, kind, offer_id, expected, values):
        is_found = any(expected[:1500] in value for value in values)
        if not is_found:
            self.differ(kind, offer_id, expected, sorted(values))
        return is_found

    def export(self, offer, offer_id, item):
        exported = self.exported[f"item_{offer_id}"]
        attributes = exported.get("attributes", {})
        if not self.is_whole:
            return
        for element, member in ATTRIBUTES.items():
            text = yml.first(offer, element)
            self.differ(member, offer_id, yml.line(text)[:1500] if text else None, (attributes.get(member) or "")[:1500] or None)
        for element in FLAGS:
            text = yml.first(offer, element)
            self.differ(element, offer_id, {"true": True, "false": False}.get((text or "").strip(), text), attributes.get(element))
        url = yml.first(offer, "url")
        expected = urllib.parse.urljoin(self.feed.base + "/", yml.line(url)).replace(" ", "%20") if url else None
        self.differ("url", offer_id, expected, attributes.get("url"))
        self.differ("groupId", offer_id, yml.line(offer.get("group_id") or "") or None, attributes.get("groupId"))
        barcodes = [yml.line(text) for text in yml.texts(offer, "barcode")]
        self.differ("barcodes", offer_id, barcodes, attributes.get("barcodes", []))
        purchase = yml.decimal(yml.first(offer, "purchase_price"))
        self.differ("purchase price", offer_id, purchase, exported.get("purchasePrice"))
        for secret in ("purchasePrice", "attributes"):
            self.differ("secret", offer_id, False, secret in item)
        if (yml.first(offer, "vat") or "").strip() == "NO_VAT":
            self.differ("vat", offer_id, "none", exported.get("vat"))

    def category_counts(self):
        """An item counts in its category and in all above."""
        totals = {}
        for key, count in self.counted.items():
            path = self.paths.get(key, [])
            for depth in range(1, len(path) + 1):
                totals[tuple(path[:depth])] = totals.get(tuple(path[:depth]), 0) + count
        names = {tuple(path) for path in self.paths.values()}
        # Categories of one name in one place are counted together.
        for path in names:
            keys = {key for key, of in self.paths.items() if tuple(of) == path and isinstance(key, str)}
            self.differ("item count", " > ".join(path), totals.get(path, 0), sum(self.counts[key] or 0 for key in keys))


def split_cities(argument):
    """The (region, file) pairs of moscow=FILE,spb=FILE, or one without a region."""
    pairs = [part.partition("=") for part in argument.split(",")]
    if all(region and file for region, _, file in pairs):
        return [(region, Path(file)) for region, _, file in pairs]
    return [(None, Path(argument))]


def compare(sources, shop, api, is_refresh=False):
    """Imports one feed, or the feeds of several cities, and prints what differs; `is_refresh`: into the shop as it is."""
    label = ", ".join(f"{region}={path.name}" if region else path.name for region, path in sources)
    roots = [(region, yml.parse(path)) for region, path in sources]
    if any(root is None for _, root in roots):
        print(f"{label}: no YML feed, skipped")
        return True
    feeds = [Feed(root, region) for region, root in roots]
    has_names = all(feed.has_names for feed in feeds)
    former = set(shop.exported()) if is_refresh else set()
    if not is_refresh:
        shop.clear()
        if not has_names:
            # The items of a delta must exist.
            shop.import_records(base_records(feeds))
    options = ["--replace", "--max-removed", "100"] if is_refresh and has_names else []
    started = time.monotonic()
    done = shop.run("import", *options, *(f"{region}={path}" if region else str(path) for region, path in sources))
    seconds = time.monotonic() - started
    if done.returncode not in (0, 3):
        print(f"{label}: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
        return False
    api.wait_for(shop.mark())
    differences, compared, offers = {}, 0, {}
    for feed in feeds:
        comparison = Comparison(feed, shop, api, has_names)
        for offer_id, offer in feed.offers.items():
            # The first city with an item decides its fields.
            if offer_id not in offers:
                comparison.offer(offer_id, offer)
        offers = {**feed.offers, **offers}
        if has_names and len(feeds) == 1:
            comparison.category_counts()
        compared += comparison.compared
        for kind, found in comparison.differences.items():
            differences.setdefault(kind, []).extend(found)
    if len(feeds) > 1:
        differences |= regional(feeds, offers, api)
    gone = sorted(former - {f"item_{offer_id}" for offer_id in offers}) if options else []
    left = [item_id for item_id in gone if api.item(item_id.removeprefix("item_"))]
    if left:
        differences["still shown"] = left
    count = sum(map(len, differences.values()))
    print(f"{label}: {len(offers)} offers, {compared} items, {count} differences, {len(gone)} gone ({seconds:.1f} s)", flush=True)
    for kind, found in differences.items():
        print(f"  {kind}: {len(found)}")
        for example in found[:SHOWN]:
            print(f"    {example[:600]}")
    return count == 0


def regional(feeds, offers, api):
    """Whether each item is shown in the cities whose feed has it, and in no other."""
    wrong = []
    for offer_id in offers:
        if api.item(offer_id) is None:
            continue
        for feed in feeds:
            is_shown = api.item(offer_id, feed.region) is not None
            if is_shown != (offer_id in feed.offers):
                wrong.append(f"{offer_id}: expected {not is_shown} in {feed.region}")
    return {"region": wrong} if wrong else {}


def base_records(feeds):
    yield {"categoryID": 9001, "name": "Base"}
    for offer_id in dict.fromkeys(offer_id for feed in feeds for offer_id in feed.offers):
        record = {"id": f"item_{offer_id}", "categoryID": 9001, "name": "Base", "price": 1}
        if re.fullmatch(r"[1-9]\d{0,14}", offer_id):
            record["itemID"] = int(offer_id)
        yield record


def own_feeds(rows):
    """Generated feeds, and those of this repository."""
    editions = []
    for edition in range(3):
        editions.append(STATE / "tmp" / f"edition-{edition}.xml")
        generate(editions[-1], rows, edition=edition)
    data = Path(__file__).resolve().parents[1] / "data"
    cities = [[(city, folder / f"{city}.xml") for city in ("moscow", "spb")] for folder in (data / "demo/novo", data / "yml")]
    files = [[(None, file)] for file in sorted((data / "yml").iterdir()) if file.suffix in (".xml", ".php")]
    return [([(None, edition)], edition != editions[0]) for edition in editions] + [(sources, False) for sources in files + cities]


def feeds_of(arguments, is_refresh):
    for argument in arguments:
        [(region, path), *others] = sources = split_cities(argument)
        if region or others or not path.is_dir():
            yield sources, is_refresh
            continue
        for file in sorted(path.rglob("*")):
            if file.suffix in (".xml", ".php", ".yml"):
                yield [(None, file)], is_refresh


def main():
    arguments = argparse.ArgumentParser(description="Compare imported feeds with what lxml reads.")
    arguments.add_argument("--generate", metavar="FILE", help="write a feed instead of comparing")
    arguments.add_argument("--rows", type=int, default=400)
    arguments.add_argument("--names", metavar="TSV", help="take names from a table of products, also compressed (.xz)")
    arguments.add_argument("--edition", type=int, default=0, help="0 to 2: another state of the generated feed")
    arguments.add_argument("--refresh", action="store_true", help="import each feed but the first as a complete one into the shop of the former")
    arguments.add_argument("binaries", nargs="?", help="directory of brandgate")
    arguments.add_argument("feeds", nargs="*", metavar="FEED")
    options = arguments.parse_intermixed_args()
    if options.generate:
        generate(options.generate, options.rows, options.names, options.edition)
        return 0
    shop, api = Shop(options.binaries), Api(os.environ["DEXAR_API"])
    feeds = list(feeds_of(options.feeds, options.refresh) if options.feeds else own_feeds(options.rows))
    equal = [compare(sources, shop, api, is_refresh and n > 0) for n, (sources, is_refresh) in enumerate(feeds)]
    return 0 if all(equal) and equal else 1


if __name__ == "__main__":
    sys.exit(main())
