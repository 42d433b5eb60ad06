#!/usr/bin/env python3
"""Builds catalog.jsonl, the demonstration catalogue of the brand dexar.

Run it from anywhere, with Python 3.11 or newer and nothing else installed:

    python3 tests/data/demo/dexar/build.py           # writes catalog.jsonl beside this file
    python3 tests/data/demo/dexar/build.py --check   # exits 1 if catalog.jsonl is not what would be written

It reads, from its own directory:

    categories.tsv     the categories in Russian, English and Armenian
    allowlist.tsv      what the shop sells, and at which price; see below
    cldr_objects.json  names and keywords of those things, from Unicode CLDR 48
    comments.tsv       reviews
    questions.tsv      questions and answers

The output depends on these files alone. Where something has to vary (gradients, review authors, priorities), it is taken
from a SHA-256 of the thing's character.

The item of line N of allowlist.tsv has itemID 1000 + N (the header is not counted), so new things are appended at the end and
nothing is ever deleted from the middle. Columns: char (key into cldr_objects.json), name (for the reader only), category,
subcategory, price in roubles, unit, stock (a number, or a word for `remainings`), discount in percent, regions (empty:
everywhere), kind (a word put before the CLDR name, see KINDS) and flags:

    no_en, no_hy                   without the translation
    en_name_only, hy_name_only     the name is translated and nothing else
    new, bestseller                badges ("sale" comes by itself from 20 percent on)
    hidden                         "visible": false
"""

import hashlib
import json
import re
import sys
import unicodedata
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent

# unit -> (short, in a sentence) in each language
UNITS = {
    "pc": {"ru": ("1 шт.", "одну штуку"), "en": ("1 piece", ""), "hy": ("1 հատ", "")},
    "kg": {"ru": ("1 кг", "один килограмм"), "en": ("1 kg", ""), "hy": ("1 կգ", "")},
    "pack": {"ru": ("1 упаковка", "одну упаковку"), "en": ("1 pack", ""), "hy": ("1 փաթեթ", "")},
    "set": {"ru": ("1 набор", "один набор"), "en": ("1 set", ""), "hy": ("1 հավաքածու", "")},
    "pair": {"ru": ("1 пара", "одну пару"), "en": ("1 pair", ""), "hy": ("1 զույգ", "")},
    "portion": {"ru": ("1 порция", "одну порцию"), "en": ("1 portion", ""), "hy": ("1 չափաբաժին", "")},
}

KEYS = {
    "ru": ("Раздел", "Подраздел", "Единица продажи", "Ключевые слова"),
    "en": ("Department", "Section", "Unit", "Keywords"),
    "hy": ("Բաժին", "Ենթաբաժին", "Վաճառքի միավոր", "Հիմնաբառեր"),
}

KINDS = {
    "toy": {"ru": "Мягкая игрушка: {}", "en": "Soft toy: {}", "hy": "Փափուկ խաղալիք՝ {}"},
    "model": {"ru": "Модель: {}", "en": "Scale model: {}", "hy": "Մանրակերտ՝ {}"},
    "ball": {"ru": "Мяч: {}", "en": "{} ball", "hy": "Գնդակ՝ {}"},
    "kit": {"ru": "Набор: {}", "en": "{} set", "hy": "Հավաքածու՝ {}"},
    "sapling": {"ru": "Саженец: {}", "en": "Sapling: {}", "hy": "Տնկի՝ {}"},
    "seeds": {"ru": "Семена: {}", "en": "Seeds: {}", "hy": "Սերմեր՝ {}"},
}

# CLDR says "морда панды" where the panda's face is drawn; the toy is the whole panda. The words on the right are CLDR keywords
# of the same character.
FACES = {
    "морда панды": "панда",
    "морда лисицы": "лисица",
    "морда кролика": "кролик",
    "морда льва": "лев",
    "голова единорога": "единорог",
    "морда коалы": "коала",
    "ճագարի մռութ": "ճագար",
    "առյուծի մռութ": "առյուծ",
}

# CLDR keywords that help to find an emoji and make no sense on a product
STOP = {
    "ru": """знак зодиака|животное|оружие|холодное|маргарита|мохито|текила|коктейль|пина колада|плакать
        |ведьма|колдунья|любовь|свидание|романтика|сортир|инвалид|слепой|буддизм|индуизм|титаник|вечер|лень|лицо|крест
        |17 число|индейцы|бабах|мало|чедоман|play|station|playstation|доширак|газель|абориген|последствия|возврат
        |ангелочек|купидон|опасность|грусть|эврика|идея|правосудие|справедливость|цена|зодиак|гороскоп|знак|шоппинг
        |застенчивый|трусы|белье|предупреждение|отмечать|побежать|идти|много книг|захлопнутая|захлопнуть
        |с днем рождения|год|день|новый|рождения|света|стороны|две|в тесте|наклоненная влево|нести|зажать|морда|голова|мордочка""",
    "en": """zodiac|Pisces|Cancer|Libra|Aquarius|Sagittarius|weapon|animal|creature|comic|poop|witch|dad|tbt|selfie|flirt|shy|clap
        |clack|punk|diaper|blind|drugs|hungry|Dionysus|c|mad|upset|cavities|tooth|slay|dupe|expendable|gang|zoom|roflcopter
        |brr|up|bundle|bent|married|engaged|colada|margarita|mojito|tequila|cocktail|beer|nothing|late|waiting|hrs|bollywood
        |hollywood|aliens|contact|extraterrestrial|church|break|family|sad|major|privacy|hurt|injured|Buddhism|Hinduism|love
        |date|romance|casual|weekend|shopping|dressed|indecisive|schmear|snap|kick|fancy|face|cross|yum|yummy
        |breaky|feed|delicious|done|maze|cupid|strat|voip|babooshka|baboushka|see|lai|tada|woohoo|hooray|awesome|excited
        |bull|direct|hit|fluctuate|trap|lure|snare|bait|ensnare|catch|crook|selling|point|ouch|birth|born|infant|flu|shot|lady
        |cha|tale|bar|stick|cool|social|underwear|employed|serious|dying|class|burp|idea|restaurant|burgers|hocho|Leo|Alpha|alpha|order|ornithology|down|T|4|bday
        |cuffs|jack|slide
        |easy|over|sunny|side|dog|wild|repercussion|rebound|garnish|ski""",
    "hy": """կենդանակերպ|ջրհոս|զենք|ականջ|սիրավեպ|կախարդ|փանկ ռոք|տակդիր|բուդդայականություն|հինդուականություն|կոմիքս
        |տեկիլա|մոխիտո|կոկտեյլ|պինյա կոլադա|թի|մեծ|ձանձրալի|հաշմանդամ|կույր|տխուր|Հնդկաստան|Վիետնամ|սրբություն
        |ոստրեների տուփ|բահը|հետևանքներ|գաղափար|սեր|Կուպիդոն|ծաղրածու|արդարություն|ամաչկոտ|դեմք|խաչ|զարդարել|վախ
        |tv|3|4|8|երեք|խնջույք|բնալի|կոսմետիա|թալակ|տպել|կեղտոտ|նպատակ|ներքնազգեստ|բորբոս|սպոր|մռութ|բար""",
}
STOP = {lang: {w.strip() for w in text.split("|")} for lang, text in STOP.items()}

# Characters that are shown as plain black signs unless VARIATION SELECTOR-16 follows
TEXT_BY_DEFAULT = set("⌨☎⏱⏲☂☘⚒⚔⚖⚗⚙⛏⛑⛓⛰⛱⛸✂✈✉✏✒♟🌡🌶🍽🎙🎚🎛🎞🏍🏎🏔🏕🏷📽🕯🕰🕶🕹🖇🖊🖋🖌🖍🖥🖨🖱🖲🖼🗂🗃🗄🗑🗒🗓🗜🗝🗞🗡🗺🛋🛍🛎🛏🛠🛡🛢🛥🛰")


def number(text, salt):
    return int.from_bytes(hashlib.sha256(f"{salt}:{text}".encode()).digest()[:8], "big")


def rows(name):
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    head = lines[0].split("\t")
    for at, line in enumerate(lines[1:], 2):
        values = line.split("\t")
        if len(values) != len(head):
            sys.exit(f"{name}:{at}: {len(values)} columns, expected {len(head)}")
        yield dict(zip(head, values))


def upper_first(text):
    if text == "dvd":
        return "DVD"
    return text[:1].upper() + text[1:]


def slug(text):
    text = unicodedata.normalize("NFKD", text.replace("’", "").replace("'", ""))
    return re.sub(r"[^a-z0-9]+", "_", text.encode("ascii", "ignore").decode().lower()).strip("_")


def data_uri(svg):
    # what RFC 3986 lets stand in a path stays as it is; '<', '>', '#', '"', '%', space and all that is not ASCII do not
    return "data:image/svg+xml," + quote(svg, safe="/:=';,()!$&*+@?~-._")


def darker(colour, by=26):
    return "".join(f"{max(0, int(colour[i:i + 2], 16) - by):02x}" for i in (0, 2, 4))


def picture(char, colour, gradient=False, size=36):
    shown = char + "\ufe0f" if char in TEXT_BY_DEFAULT else char
    fill, defs = f"#{colour}", ""
    if gradient:
        defs = f"<radialGradient id='g'><stop stop-color='#fff'/><stop offset='1' stop-color='#{darker(colour)}'/></radialGradient>"
        fill = "url(#g)"
    return data_uri(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 64 64'>{defs}<rect width='64' height='64' fill='{fill}'/>"
        f"<text x='32' y='45' font-size='{size}' text-anchor='middle'>{shown}</text></svg>"
    )


def banner(chars, colour):
    signs = "".join(c + "\ufe0f" if c in TEXT_BY_DEFAULT else c for c in chars)
    return data_uri(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 320 80'><rect width='320' height='80' fill='#{colour}'/>"
        f"<text x='160' y='53' font-size='36' text-anchor='middle' letter-spacing='24'>{signs}</text></svg>"
    )


def keywords(thing, lang):
    name = thing[lang]["name"].lower()
    found = []
    for word in thing[lang]["keywords"]:
        if word in STOP[lang] or word.lower() == name or word.lower() in (w.lower() for w in found):
            continue
        found.append(word)
    return found


def item_name(thing, kind, lang):
    name = thing[lang]["name"]
    if kind:
        full = KINDS[kind][lang]
        name = FACES.get(name, re.sub(r" face$", "", name))
        if kind == "ball" and (lang == "en" and "ball" in name or lang == "hy" and "գնդակ" in name):
            full = "{}"
        name = full.format(name)
    return upper_first(name)


def main():
    things = {t["char"]: t for t in json.loads((HERE / "cldr_objects.json").read_text(encoding="utf-8"))}
    categories = {c["id"]: c for c in rows("categories.tsv")}
    by_number = {c["categoryID"]: c for c in categories.values()}

    def path(category):
        """From the top-level category down to this one."""
        found = [category]
        while found[0]["parentID"] != "0":
            found.insert(0, by_number[found[0]["parentID"]])
        return found

    comments, questions = {}, {}
    for row in rows("comments.tsv"):
        comments.setdefault(row["char"], []).append(row)
    for row in rows("questions.tsv"):
        questions.setdefault(row["char"], []).append(row)

    out = []
    for c in categories.values():
        top = path(c)[0]
        colour = top["color"]
        record = {"categoryID": int(c["categoryID"]), "id": c["id"], "name": c["ru"], "parentID": int(c["parentID"])}
        if c is top:
            record["icon"] = picture(c["char"], colour)
            below = [s["char"] for s in categories.values() if s["parentID"] == c["categoryID"]]
            record["wideBanner"] = banner(below[:5], colour)
            record["projectId"] = "proj_demo"
        else:
            record["img"] = picture(c["char"], colour)
        record["priority"] = int(c["priority"])
        record["visible"] = c["visible"] != "no"
        if c["regions"]:
            record["regions"] = c["regions"].split(",")
        record["translations"] = {lang: {"name": c[lang]} for lang in ("en", "hy")}
        out.append(record)

    ids = set()
    for at, row in enumerate(rows("allowlist.tsv"), 1):
        char, kind = row["char"], row["kind"]
        thing, flags = things[char], set(filter(None, row["flags"].split(",")))
        sub = categories[row["subcategory"]]
        way = path(sub)
        if way[0]["id"] != row["category"]:
            sys.exit(f"allowlist.tsv: {char}: {row['subcategory']} is not in {row['category']}")
        names = {lang: item_name(thing, kind, lang) for lang in ("ru", "en", "hy")}
        words = {lang: keywords(thing, lang) for lang in ("ru", "en", "hy")}
        unit = UNITS[row["unit"]]
        simple, fields = {}, {}
        for lang, (colon, stop) in {"ru": (": ", "."), "en": (": ", "."), "hy": ("՝ ", "։")}.items():
            short = words[lang][:3] or [way[-1][lang].lower()]
            if kind and not words[lang]:
                simple[lang] = names[lang] + stop
            elif kind:
                simple[lang] = f"{names[lang]}{stop} {upper_first(', '.join(short))}{stop}"
            else:
                simple[lang] = f"{names[lang]}{colon}{', '.join(short)}{stop}"
            values = [way[0][lang], " / ".join(c[lang] for c in way[1:]), unit[lang][0]]
            if lang == "ru" and len(words[lang]) > 1:
                values.append(", ".join(words[lang][:3]))
            fields[lang] = [{"key": k, "value": v} for k, v in zip(KEYS[lang], values) if v]
        text = f"{names['ru']} — раздел «{way[0]['ru']}», подраздел «{way[-1]['ru']}»."
        if words["ru"]:
            text += f" Ключевые слова: {', '.join(words['ru'][:4])}."
        text += f" Цена указана за {unit['ru'][1]}."

        item_id = "item_" + slug(names["en"])
        if item_id in ids:
            sys.exit(f"allowlist.tsv: {char}: {item_id} is taken")
        ids.add(item_id)
        number_id = 1000 + at
        discount = int(row["discount"])
        badges = [b for b in ("new", "bestseller") if b in flags] + (["sale"] if discount >= 20 else [])
        price = float(row["price"])
        record = {
            "itemID": number_id,
            "id": item_id,
            "categoryID": int(sub["categoryID"]),
            "name": names["ru"],
            "simpleDescription": simple["ru"],
            "description": text,
            "descriptionFields": fields["ru"],
            "currency": "RUB",
            "price": int(price) if price == int(price) else price,
            "discount": discount,
        }
        if row["stock"].isdigit():
            record["quantity"] = int(row["stock"])
        else:
            record["remainings"] = row["stock"]
        said = comments.get(char, [])
        record["rating"] = round(sum(int(c["stars"]) for c in said) / len(said), 1) if said else 0
        record["priority"] = ("bestseller" in flags) * 60 + ("new" in flags) * 30 + number(char, "priority") % 30
        if "hidden" in flags:
            record["visible"] = False
        record["tags"] = words["ru"][:8]
        if badges:
            record["badges"] = badges
        plain = number(char, "gradient") % 4
        colour = way[0]["color"]
        record["photos"] = [{"url": picture(char, colour, gradient=plain == 0)}]
        if number(char, "second photo") % 12 == 0:
            record["photos"].append({"url": picture(char, darker(colour, 40), size=24)})
        if char in questions:
            record["questions"] = [
                {"question": q["question"], "answer": q["answer"], "upvotes": int(q["upvotes"]), "downvotes": int(q["downvotes"])}
                for q in questions[char]
            ]
        if said:
            record["comments"] = [
                {
                    "id": f"cmt_{number_id}_{n}",
                    "text": c["text"],
                    "author": "user_" + hashlib.sha256(f"{char}{n}".encode()).hexdigest()[:8],
                    "stars": int(c["stars"]),
                    "createdAt": c["createdAt"],
                }
                for n, c in enumerate(said, 1)
            ]
        if row["regions"]:
            record["regions"] = row["regions"].split(",")
        translations = {}
        for lang in ("en", "hy"):
            if f"no_{lang}" in flags:
                continue
            translations[lang] = {"name": names[lang]}
            if f"{lang}_name_only" not in flags:
                translations[lang]["simpleDescription"] = simple[lang]
                translations[lang]["description"] = fields[lang]
        if translations:
            record["translations"] = translations
        out.append(record)

    lines = "".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in out)
    target = HERE / "catalog.jsonl"
    if "--check" in sys.argv[1:]:
        sys.exit(0 if target.exists() and target.read_text(encoding="utf-8") == lines else "catalog.jsonl is out of date")
    target.write_bytes(lines.encode())
    print(f"{target.name}: {len(categories)} categories, {len(ids)} items, {len(lines.encode())} bytes")


if __name__ == "__main__":
    main()
