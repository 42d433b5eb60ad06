"""Writes feeds with everything that real ones have, from a table of product names or from names of its own."""

import html
import lzma
import random
import re
from decimal import Decimal
from pathlib import Path

THINGS = ("Чайник", "Кружка «Ёж»", "Набор 2 & 3", "Ложка <малая>", "Плед 150×200", 'Coffee "Noir"')


def rows_of(names, count):
    """The id, EAN, name, category path and brand of so many products."""
    if not names:
        for n in range(count):
            yield str(n), str(4600000000000 + n), f"{THINGS[n % 6]} № {n}", f"Дом/Раздел {n % 40}", f"Марка {n % 70}"
        return
    with lzma.open(names, "rt", encoding="utf-8") if Path(names).suffix == ".xz" else open(names, encoding="utf-8") as table:
        next(table)
        for _, row in zip(range(count), table):
            cells = row.rstrip("\n").split("\t")
            yield cells[1], cells[2], cells[3], cells[5], cells[7] if len(cells) > 7 else ""


def e(text):
    return html.escape(text, quote=True)


def price_of(n, draw):
    price = Decimal(draw.randrange(100, 9_999_999)) / 100
    old = f"<oldprice>{price + Decimal(draw.randrange(1, 99_999)) / 100}</oldprice>" if n % 3 == 0 else ""
    currency = ("RUR", "RUB", "USD", "KZT")[(n % 50 == 7) * 2 + (n % 2)]
    from_attribute = ' from="true"' if n % 37 == 5 else ""
    purchase = "<purchase_price>0.07</purchase_price>" if n % 6 == 0 else ""
    return f"<price{from_attribute}>{price}</price>{old}{purchase}<currencyId>{currency}</currencyId>"


def stock_of(n):
    if n % 4 == 0:
        return f'<outlets><outlet id="1" instock="{n % 7}"/><outlet id="2" instock="2"/></outlets>'
    return f"<count>{n % 100}</count>" if n % 4 == 1 else ""


def details_of(n, edition):
    """Elements that some offers have; another edition of the feed has them in other offers."""
    n += edition
    parts = [f'<param name="Объём" unit="л">{n % 5 + 1}</param>'] if n % 2 else []
    parts += ['<param name="Цвет">белый</param><param name="Цвет">синий</param>'] if n % 5 else []
    parts += ["<picture>/photo/%d.jpg</picture><picture>//cdn.example/%d b.jpg</picture>" % (n, n)] if n % 3 else []
    parts += ["<video>https://shop.example/v.mp4</video>"] if n % 13 == 0 else []
    parts += [f"<weight>{n % 9 + 0.25}</weight><dimensions>{n % 9 + 1}/20/12.5</dimensions>"] if n % 7 == 0 else []
    parts += ["<sales_notes>Предоплата 100%</sales_notes><country_of_origin>Армения</country_of_origin>"] if n % 8 == 0 else []
    parts += [f"<url>/p/{n}?a=1&amp;b=2</url><keywords>слово{n}</keywords><vat>NO_VAT</vat>"] if n % 9 == 0 else []
    parts += ["<min-quantity>2</min-quantity><step-quantity>2</step-quantity>"] if n % 10 == 3 else []
    parts += ['<condition type="used"><reason>царапина</reason></condition><age unit="year">18</age>'] if n % 11 == 0 else []
    parts += [f"<model>М-{n}</model><delivery>true</delivery><store>false</store>"] if n % 12 == 0 else []
    return "".join(parts)


def generate(path, count, names=None, edition=0):
    """Writes a feed of so many offers; each edition has other prices, other details, and lacks another tenth of the offers."""
    draw = random.Random(17 + edition)
    categories = {}
    for _, _, _, full, _ in rows_of(names, count):
        parts = full.split("/")
        for depth in range(1, len(parts) + 1):
            categories.setdefault("/".join(parts[:depth]), len(categories) + 1)
    with open(path, "w", encoding="utf-8") as out:
        out.write('<?xml version="1.0" encoding="UTF-8"?>\n<yml_catalog><shop><url>https://shop.example</url>')
        out.write('<currencies><currency id="RUR" rate="1"/><currency id="USD" rate="90.515"/><currency id="KZT" rate="CBRF"/></currencies>')
        out.write("<categories>\n")
        for full, number in categories.items():
            parent = f' parentId="{categories[full.rsplit("/", 1)[0]]}"' if "/" in full else ""
            out.write(f'<category id="{number}"{parent}>{e(full.rsplit("/", 1)[-1])}</category>\n')
        out.write("</categories><offers>\n")
        for n, (number, ean, name, full, brand) in enumerate(rows_of(names, count)):
            prices = price_of(n, draw)
            if n % 10 == 9 - edition:
                continue
            group = f' group_id="{n // 4}"' if n % 4 < 2 else ""
            out.write(f'<offer id="g{number}" available="{"false" if n % 9 == edition else "true"}"{group}>{prices}')
            # Some programs escape names twice.
            text = e(e(name)) if n % 11 == 0 and re.search("[&<>]", name) else e(name)
            out.write(f"<categoryId>{categories[full]}</categoryId><name>{text}</name>")
            out.write(f"<vendor>{e(brand)}</vendor>" if brand else "")
            out.write(f"<barcode>{e(ean)}</barcode>")
            if n % 6 != edition:
                out.write(f"<description><![CDATA[<p>{e(name)}</p><ul><li>один</li><li>два</li></ul>]]></description>")
            out.write(f"{details_of(n, edition)}{stock_of(n)}</offer>\n")
        out.write("</offers></shop></yml_catalog>\n")
