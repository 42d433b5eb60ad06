#!/usr/bin/python3
"""Imports YML feeds through the real binary and compares every item, over TLS, with what lxml reads in the feed.

    tests/env/throwaway.sh target/debug tests/feeds/compare.py target/debug FILE|DIRECTORY…
    tests/feeds/compare.py --generate FILE --rows 20000 [--names TSV]

It shares no code with the importer: what an offer means is written down here again, from the documentation of YML. Each feed replaces the
shop of one brand of a throwaway site. Exit status: 0 equal, 1 differences.
"""

import argparse
import html
import http.client
import json
import os
import random
import re
import ssl
import subprocess
import sys
import tempfile
import time
import unicodedata
import urllib.parse
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from lxml import etree
from lxml import html as lxml_html

BRAND = "dexar"
SHOWN = 10
ROUBLE = {"RUB", "RUR", "РУБ", "Р", "₽", "RUB.", ""}
OUT_WORDS = {"false", "0", "no", "нет"}
COUNTS = ("count", "quantity_in_stock", "stock_quantity", "quantity")
FIELDS = ("vendor", "vendorCode", "barcode", "country_of_origin")


def words(text):
    return re.findall(r"\w+", text or "")


def once_more(text):
    """Feeds of OpenCart and 1C-Bitrix escape names twice."""
    return html.unescape(text) if re.search(r"&(#\d+|#x[0-9a-fA-F]+|[a-zA-Z]+\d*);", text or "") else text or ""


def line(text):
    """One line of text without markup and control characters."""
    text = once_more(once_more(text))
    text = re.sub(r"</?(b|i|u|p|br|strong|em|span|sup|sub)\b[^<>]*>", "", text)
    return " ".join("".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cc").split())


def parse(path):
    raw = path.read_bytes()
    start = re.search(rb"<yml_catalog[\s>]", raw)
    if not start:
        return None
    declared = re.search(rb"encoding\s*=\s*\\?[\"']([\w-]+)", raw[: start.start()])
    encoding = declared.group(1).decode() if declared else "utf-8"
    text = raw[start.start() :].decode(encoding, errors="replace")
    # References to characters that XML does not allow are dropped, as the importer documents.
    text = re.sub(r"&#(x[0-9a-fA-F]+|\d+);", lambda m: m[0] if is_xml_character(m[1]) else "", text)
    text = re.sub(r"&(?!#|amp;|lt;|gt;|quot;|apos;)([a-zA-Z]+\d*);", lambda m: html.escape(html.unescape(m[0])), text)
    text = re.sub(r"&(?!#?\w+;)", "&amp;", text)
    # PHP may stand in the middle of a feed, too.
    text = re.sub(r"<\?.*?\?>", "", text[: text.rindex("</yml_catalog>") + len("</yml_catalog>")], flags=re.S)
    text = "".join(c for c in text if is_xml_character(str(ord(c))))
    return etree.fromstring(text.encode(), etree.XMLParser(huge_tree=True, encoding="utf-8"))


def is_xml_character(number):
    code = int(number[1:], 16) if number[0] == "x" else int(number)
    return code in (9, 10, 13) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF


def decimal(text):
    """A number as price lists write it; what could be two numbers is none."""
    text = re.sub(r"(руб(лей|\.)?|р\.?|₽)$", "", re.sub(r"\s", "", text or ""))
    if not re.fullmatch(r"\d+(\.\d+|,\d{1,2}|,\d{4,})?", text):
        return None
    return Decimal(text.replace(",", ".")).quantize(Decimal("0.01"), ROUND_HALF_UP)


def texts(offer, name):
    return [text for text in ("".join(child.itertext()) for child in offer.findall(name)) if text.strip()]


def first(offer, name):
    return next(iter(texts(offer, name)), None)


def name_of(offer):
    name = first(offer, "name")
    if name:
        return line(name)
    prefix, vendor, model = (line(first(offer, part) or "") for part in ("typePrefix", "vendor", "model"))
    if not prefix and not model:
        return line(first(offer, "title") or "") or None
    # The vendor is not repeated where the others have it.
    others = f"{prefix} {model}".lower()
    return " ".join(part for part in (prefix, "" if vendor.lower() in others else vendor, model) if part)


def pictures_of(offer, base):
    urls = []
    for text in texts(offer, "picture"):
        for url in re.split(r" \| ", line(text)):
            url = url.strip(" |").replace(" ", "%20")
            if url.startswith("//"):
                url = "https:" + url if not base.startswith("http:") else "http:" + url
            elif url and "://" not in url and base:
                url = urllib.parse.urljoin(base + "/", url)
            if url.startswith(("http://", "https://")) and url not in urls:
                urls.append(url)
    return urls[:50]


class Api:
    def __init__(self, url, ca):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, context=ssl.create_default_context(cafile=ca), timeout=60
        )

    def get(self, path):
        self.connection.request("GET", path, headers={"Accept": "application/json"})
        response = self.connection.getresponse()
        body = response.read()
        return response.status, json.loads(body, parse_float=Decimal) if body else None


class Comparison:
    def __init__(self, feed, api):
        self.api, self.differences, self.compared = api, {}, 0
        self.base = (feed.findtext("shop/url") or "").strip().rstrip("/")
        self.categories = {}
        for category in feed.iterfind(".//categories/category"):
            name = line("".join(category.itertext()))
            # A name without letters and digits is none.
            self.categories.setdefault(line(category.get("id")), name if re.search(r"\w", name) else None)
        listed = api.get("/category")[1]
        # Subcategories have no number.
        self.listed = {category.get(key): category["name"] for category in flat(listed) for key in ("categoryID", "id")}

    def differ(self, kind, offer, expected, found):
        self.differences.setdefault(kind, []).append(f"{offer}: expected {expected!r}, found {found!r}")

    def offer(self, offer, has_names):
        offer_id = line(offer.get("id"))
        status, item = self.api.get("/item/" + urllib.parse.quote(f"item_{offer_id}", safe=""))
        name, price = name_of(offer), decimal(first(offer, "price"))
        category = next((line(text) for text in texts(offer, "categoryId")), None)
        usable = name and price and price > 0 and category in self.categories or not has_names
        if status != 200:
            if usable:
                self.differ("missing", offer_id, "an item", status)
            return
        self.compared += 1
        if name and item["name"] != name[:500]:
            self.differ("name", offer_id, name, item["name"])
        if price and price > 0:
            self.price(offer, offer_id, price, item)
        self.stock(offer, offer_id, price, item)
        expected = pictures_of(offer, self.base)
        found = [photo["url"] for photo in item.get("photos", []) if photo.get("type") != "video" and not photo.get("video")]
        if found != expected:
            self.differ("pictures", offer_id, expected, found)
        if has_names and category in self.categories and self.categories[category]:
            found = self.listed.get(item.get("subcategoryId") or item.get("categoryID"))
            if found != self.categories[category]:
                self.differ("category", offer_id, self.categories[category], found)
        self.fields(offer, offer_id, item)

    def price(self, offer, offer_id, price, item):
        discount = Decimal(item.get("discount") or 0)
        paid = item.get("salePrice")
        if paid is None:
            paid = Decimal(item["price"]) * (100 - discount) / 100
        paid = Decimal(paid).quantize(Decimal("0.01"), ROUND_HALF_UP)
        # An item in another currency may be shown in roubles.
        is_rouble = (first(offer, "currencyId") or "").strip().upper() in ROUBLE
        if is_rouble and paid != price:
            self.differ("price", offer_id, price, paid)
        old = decimal(first(offer, "oldprice"))
        if not is_rouble or not old or old <= price:
            return
        # The discount is a whole percentage for people; where that is all there is, the crossed-out price follows from it.
        fits = Decimal(item["price"]) == old or ("salePrice" not in item and abs(discount - (old - price) * 100 / old) <= 1)
        if not fits:
            self.differ("crossed-out price", offer_id, old, f"{item['price']} less {discount} %")

    def stock(self, offer, offer_id, price, item):
        available = (offer.get("available") or "").strip().lower()
        is_out = available in OUT_WORDS or (first(offer, "price") and not price) or any(p.get("from") == "true" for p in offer.iterfind("price"))
        def units(text):
            # Shops count below zero what they have sold and do not have.
            return decimal("0" if text.strip().startswith("-") else text)

        counts = [o.get("instock") for o in offer.iterfind("outlets/outlet") if o.get("instock")]
        counts = [sum(int(units(count)) for count in counts if units(count) is not None)] if counts else []
        counts += [int(count) for name in COUNTS for count in map(units, texts(offer, name)) if count is not None]
        if is_out:
            if item.get("remainings") != "out":
                self.differ("out of stock", offer_id, "out", item.get("remainings"))
        elif counts:
            if item.get("quantity") != counts[0]:
                self.differ("quantity", offer_id, counts[0], item.get("quantity"))
        elif available in ("true", "1", "yes", "да") and item.get("remainings") == "out":
            self.differ("in stock", offer_id, "in stock", "out")

    def fields(self, offer, offer_id, item):
        fields = {field["key"]: field["value"] for field in item.get("descriptionFields", [])}
        values = " | ".join(fields.values())
        for name in FIELDS:
            for text in texts(offer, name):
                if line(text)[:1000] not in values:
                    self.differ(name, offer_id, line(text), values[:200])
        for param in offer.iterfind("param"):
            key, value = line(param.get("name")), line("".join(param.itertext()))
            if key and value and value[:1000] not in fields.get(key[:200], ""):
                self.differ("param", offer_id, f"{key}={value}", fields.get(key))
        description = offer.find("description")
        if description is not None and "".join(description.itertext()).strip():
            inner = (description.text or "") + "".join(etree.tostring(child, encoding="unicode") for child in description)
            # Markup that is escaped a second time is still markup.
            inner = inner if re.search(r"</?[a-z]", inner, re.I) else once_more(inner)
            inner = re.sub(r"<(script|style)\b.*?</\1>", " ", inner, flags=re.S | re.I)
            try:
                plain = lxml_html.fromstring(f"<div>{re.sub('<', ' <', inner)}</div>").text_content()
            except etree.ParserError:
                return
            expected, found = words(plain)[:60], words(item.get("description"))[:60]
            if "".join(expected)[:200] != "".join(found)[:200]:
                self.differ("description", offer_id, " ".join(expected)[:200], " ".join(found)[:200])


def flat(categories):
    for category in categories or []:
        yield category
        yield from flat(category.get("subcategories"))


def run_import(binary, path):
    command = [binary, "catalog", "import", "--brands", f"{os.environ['STATE']}/brands", "--brand", BRAND, str(path)]
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": f"{os.environ['STATE']}/credentials"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def empty_shop():
    """Deletes the catalogue of the brand, so that a feed is compared with itself alone."""
    state = Path(os.environ["STATE"])
    services = dict(re.findall(r"^(PG_\w+)=[\"']?([^\"'\n]*)", (state / "services.env").read_text(), re.M))
    sql = f"set search_path = {BRAND};" + "".join(
        f"delete from {table};" for table in ("item", "category", "stock_count", "import_source", "item_stock")
    )
    command = [f"{services['PG_BIN']}/psql", "-Xqd", "brandgate", "-h", services["PG_HOST"], "-p", services["PG_PORT"], "-U", "postgres"]
    environment = {**os.environ, "PGPASSWORD": (state / "pg.password").read_text().strip()}
    subprocess.run([*command, "-v", "ON_ERROR_STOP=1", "-c", sql], check=True, env=environment)


def compare(path, binary, api):
    feed = parse(path)
    if feed is None:
        print(f"{path.name}: no YML feed, skipped")
        return True
    offers, seen = [], set()
    for offer in feed.iterfind(".//offers/offer"):
        offer_id = line(offer.get("id"))
        if offer_id and offer_id not in seen:
            seen.add(offer_id)
            offers.append(offer)
    has_names = any(name_of(offer) for offer in offers)
    empty_shop()
    if not has_names:
        # A delta of prices and stock: its items must exist.
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as base:
            base.write(json.dumps({"categoryID": 9001, "name": "Base"}) + "\n")
            for offer in offers:
                offer_id = line(offer.get("id"))
                record = {"id": f"item_{offer_id}", "categoryID": 9001, "name": "Base", "price": 1}
                if re.fullmatch(r"[1-9]\d{0,14}", offer_id):
                    record["itemID"] = int(offer_id)
                base.write(json.dumps(record) + "\n")
            base.flush()
            done = run_import(binary, base.name)
            if done.returncode != 0:
                sys.exit(done.stdout + done.stderr)
    started = time.monotonic()
    done = run_import(binary, path)
    seconds = time.monotonic() - started
    if done.returncode not in (0, 3):
        print(f"{path.name}: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
        return False
    # Longer than the gateway takes to learn of the changes.
    time.sleep(1)
    comparison = Comparison(feed, api)
    for offer in offers:
        comparison.offer(offer, has_names)
    count = sum(len(found) for found in comparison.differences.values())
    print(f"{path.name}: {len(offers)} offers, {comparison.compared} items, {count} differences ({seconds:.1f} s)")
    for kind, found in comparison.differences.items():
        print(f"  {kind}: {len(found)}")
        for example in found[:SHOWN]:
            print(f"    {example[:400]}")
    return count == 0


def generate(path, rows, names):
    """Writes a feed with everything that real feeds have: markup, twice escaped names, parameters, discounts, outlets."""
    if names:
        with open(names, encoding="utf-8") as table:
            next(table)
            lines = [row.rstrip("\n").split("\t") for _, row in zip(range(rows), table)]
    else:
        things = ["Чайник", "Кружка «Ёж»", "Набор 2 & 3", "Ложка <малая>", "Плед 150×200", "Coffee \"Noir\""]
        lines = [[str(n), str(n), str(4600000000000 + n), f"{things[n % 6]} № {n}", "", f"Дом/Раздел {n % 40}", "", f"Марка {n % 70}"] for n in range(rows)]
    draw = random.Random(17)
    categories = {}
    for row in lines:
        parts = row[5].split("/")
        for depth in range(1, len(parts) + 1):
            categories.setdefault("/".join(parts[:depth]), len(categories) + 1)

    def e(text):
        return html.escape(text, quote=True)

    with open(path, "w", encoding="utf-8") as out:
        out.write('<?xml version="1.0" encoding="UTF-8"?>\n<yml_catalog date="2026-03-01 10:00"><shop><url>https://shop.example</url><categories>\n')
        for full, number in categories.items():
            parent = f' parentId="{categories[full.rsplit("/", 1)[0]]}"' if "/" in full else ""
            out.write(f'<category id="{number}"{parent}>{e(full.rsplit("/", 1)[-1])}</category>\n')
        out.write("</categories><offers>\n")
        for n, row in enumerate(lines):
            price = Decimal(draw.randrange(100, 9_999_999)) / 100
            out.write(f'<offer id="g{row[1]}" available="{"false" if n % 9 == 0 else "true"}"><price>{price}</price>')
            if n % 3 == 0:
                out.write(f"<oldprice>{price + Decimal(draw.randrange(1, 99_999)) / 100}</oldprice>")
            name = e(e(row[3])) if n % 11 == 0 and re.search("[&<>]", row[3]) else e(row[3])
            out.write(f"<currencyId>RUR</currencyId><categoryId>{categories[row[5]]}</categoryId><name>{name}</name>")
            out.write(f"<picture>https://shop.example/{n}.jpg</picture>" * (n % 2))
            if len(row) > 7 and row[7]:
                out.write(f"<vendor>{e(row[7])}</vendor>")
            out.write(f"<barcode>{e(row[2])}</barcode><description><![CDATA[<p>{e(row[3])}</p><ul><li>один</li><li>два</li></ul>]]></description>")
            out.write(f'<param name="Объём" unit="л">{n % 5 + 1}</param><param name="Цвет">белый</param>')
            if n % 4 == 0:
                out.write(f'<outlets><outlet id="1" instock="{n % 7}"/><outlet id="2" instock="2"/></outlets>')
            elif n % 4 == 1:
                out.write(f"<count>{n % 100}</count>")
            out.write("</offer>\n")
        out.write("</offers></shop></yml_catalog>\n")


def main():
    arguments = argparse.ArgumentParser(description="Compare imported feeds with what lxml reads.")
    arguments.add_argument("--generate", metavar="FILE", help="write a feed instead of comparing")
    arguments.add_argument("--rows", type=int, default=500)
    arguments.add_argument("--names", metavar="TSV", help="take names from a table of products")
    arguments.add_argument("binaries", nargs="?", help="directory of brandgate")
    arguments.add_argument("feeds", nargs="*", type=Path)
    options = arguments.parse_args()
    if options.generate:
        generate(options.generate, options.rows, options.names)
        return 0
    api = Api(os.environ["DEXAR_API"], f"{os.environ['STATE']}/ca.pem")
    feeds = list(options.feeds)
    if not feeds:
        own = Path(os.environ["STATE"]) / "tmp" / "generated.xml"
        generate(own, options.rows, None)
        root = Path(__file__).resolve().parents[1] / "data"
        feeds = [root / "demo/novo", root / "yml", own]
    files = [file for feed in feeds for file in (sorted(feed.rglob("*")) if feed.is_dir() else [feed])]
    files = [file for file in files if file.suffix in (".xml", ".php", ".yml")]
    equal = [compare(file, f"{options.binaries}/brandgate", api) for file in files]
    return 0 if all(equal) and equal else 1


if __name__ == "__main__":
    sys.exit(main())
