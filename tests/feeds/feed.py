"""What an offer of a YML feed means, read with lxml. It shares no code with the importer and is written from the documentation of YML."""

import html
import re
import unicodedata
import urllib.parse
from decimal import ROUND_HALF_UP, Decimal

from lxml import etree
from lxml import html as lxml_html

OUT_WORDS = {"false", "0", "no", "нет"}
COUNTS = ("count", "quantity_in_stock", "stock_quantity", "quantity")
ROUBLE = {"RUB", "RUR", "РУБ", "РУБ.", "Р", "Р.", "₽"}


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


def videos_of(offer, base):
    return [urllib.parse.urljoin(base + "/", line(text)) for text in texts(offer, "video")]


def categories_of(feed):
    """The path of names of each category id, from the top; None where the feed does not say one."""
    names, parents = {}, {}
    for category in feed.iterfind(".//categories/category"):
        number = line(category.get("id"))
        if number in names:
            continue
        name = line("".join(category.itertext()))
        # A name without letters and digits is none.
        names[number] = name if re.search(r"\w", name) else None
        parents[number] = line(category.get("parentId")) or "0"

    def path(number):
        names_above, seen = [], set()
        while number != "0":
            if number in seen or len(seen) == 20 or not names.get(number):
                return None
            seen.add(number)
            names_above.insert(0, names[number])
            number = parents[number]
        return names_above

    return {number: path(number) for number in names}


def rates_of(feed):
    """Roubles for one unit of each currency, where the feed says how many."""
    rates = {}
    for currency in feed.iterfind(".//currencies/currency"):
        rate = re.fullmatch(r"\d+([.,]\d+)?", (currency.get("rate") or "").strip())
        code = (currency.get("id") or "").strip().upper()
        rates["RUB" if code in ROUBLE else code] = Decimal(rate[0].replace(",", ".")) if rate else None
    return rates if rates.get("RUB") == 1 else {}


def kopecks(sum_of_roubles):
    return sum_of_roubles.quantize(Decimal("0.01"), ROUND_HALF_UP)


def prices_of(offer, rates):
    """The list price and what is paid, and the currency of both; None where the price is no number."""
    paid, old = decimal(first(offer, "price")), decimal(first(offer, "oldprice"))
    if not paid:
        return None
    listed = old if old and old > paid else paid
    currency = (first(offer, "currencyId") or "RUB").strip().upper()
    currency = "RUB" if currency in ROUBLE else currency
    rate = rates.get(currency)
    if currency != "RUB" and rate:
        return kopecks(listed * rate), kopecks(paid * rate), "RUB"
    return listed, paid, currency


def lot_of(offer, name):
    """How many units at least, or more, are sold: None where the feed does not say it; False where it says no number of units."""
    text = first(offer, name)
    if text is None:
        return None
    return int(text) if re.fullmatch(r"\s*[1-9]\d{0,2}\s*", text) else False


def units(text):
    """Shops count below zero what they have sold and do not have."""
    number = decimal("0" if text.strip().startswith("-") else text)
    return None if number is None else int(number)


def stock_of(offer):
    """"out", "in", a number of units, or None where the feed does not say it in a way that both must understand."""
    available = (offer.get("available") or "").strip().lower()
    lots = [lot_of(offer, name) for name in ("min-quantity", "step-quantity")]
    is_lowest = any(price.get("from") == "true" for price in offer.iterfind("price"))
    if available in OUT_WORDS or is_lowest or False in lots or (first(offer, "price") and not decimal(first(offer, "price"))):
        return "out"
    outlets = [units(outlet.get("instock")) for outlet in offer.iterfind("outlets/outlet") if outlet.get("instock")]
    counts = [sum(count for count in outlets if count is not None)] if outlets else []
    counts += [count for name in COUNTS for count in map(units, texts(offer, name)) if count is not None]
    if counts:
        return counts[0]
    is_stated = any(texts(offer, name) for name in COUNTS)
    return "in" if available in ("true", "1", "yes", "да") and not is_stated else None


def param_value(param):
    """The value in Russian, where it is given in several languages."""
    values = [value for value in param.findall("value") if value.get("lang", "ru") == "ru"]
    return line("".join(values[0].itertext() if values else param.itertext()))


def description_of(offer):
    """The words of the description; None where it has none, or lxml cannot read it."""
    description = offer.find("description")
    if description is None or not "".join(description.itertext()).strip():
        return None
    inner = (description.text or "") + "".join(etree.tostring(child, encoding="unicode") for child in description)
    # Markup that is escaped a second time is still markup.
    inner = inner if re.search(r"</?[a-z]", inner, re.I) else once_more(inner)
    inner = re.sub(r"<(script|style)\b.*?</\1>", " ", inner, flags=re.S | re.I)
    try:
        return words(lxml_html.fromstring(f"<div>{re.sub('<', ' <', inner)}</div>").text_content())
    except etree.ParserError:
        return None
