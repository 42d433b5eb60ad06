#!/usr/bin/env python3
"""Builds delta.jsonl: what the demonstration shop novo adds to Yandex's two example feeds, moscow.xml and spb.xml.

    python3 tests/data/demo/novo/build_delta.py           # writes delta.jsonl beside this file
    python3 tests/data/demo/novo/build_delta.py --check   # exits 1 if delta.jsonl is not what would be written

Python 3.11 or newer and nothing else. Each line is a partial record: the ids and the fields that change; what is absent stays as
it was imported. Nothing here is random. All the numbers, texts and drawings below are this project's own; facts about the
devices (power, sockets, protocols) are those of the feeds.
"""

import hashlib
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent


# --- pictures -------------------------------------------------------------------------------------------------------------


def data_uri(svg):
    # what RFC 3986 lets stand in a path stays as it is
    return "data:image/svg+xml," + quote(svg, safe="/:=';,()!$&*+@?~-._")


def shade(colour, by):
    """The colour made lighter (by > 0) or darker."""
    return "#" + "".join(f"{max(0, min(255, int(colour[i:i + 2], 16) + by)):02x}" for i in (1, 3, 5))


def svg(body, background="#f3f4f7"):
    return data_uri(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 120 120'><rect width='120' height='120' fill='{background}'/>{body}</svg>"
    )


def side_light(colour):
    """A gradient 'b' as on the side of a cylinder."""
    return (
        f"<linearGradient id='b'><stop stop-color='{shade(colour, -35)}'/><stop offset='.35' stop-color='{shade(colour, 30)}'/>"
        f"<stop offset='1' stop-color='{shade(colour, -45)}'/></linearGradient>"
    )


def shadow(y, rx):
    return f"<ellipse cx='60' cy='{y}' rx='{rx}' ry='6' fill='#000' opacity='.12'/>"


def station_mini(colour, clock):
    # 12:30, drawn, so that it does not depend on the fonts of the machine
    time = "<path d='M43 69v12M48 69h6v6h-6v6h6M66 69h6v12h-6M67 75h5M77 69h6v12h-6zM60 72v1M60 78v1' fill='none' stroke='#fff' stroke-width='2' stroke-linecap='round' stroke-linejoin='round'/>" if clock else ""
    return svg(
        side_light(colour) + shadow(92, 40) + "<path d='M22 48v32q0 13 38 13t38-13V48z' fill='url(#b)'/>"
        f"<ellipse cx='60' cy='48' rx='38' ry='13' fill='{shade(colour, 45)}'/>"
        f"<ellipse cx='60' cy='48' rx='24' ry='8' fill='none' stroke='{shade(colour, -20)}' stroke-width='1.5'/>"
        "<circle cx='60' cy='48' r='2.5' fill='#a77bff'/>" + time
    )


def station_lite(colour):
    return svg(
        side_light(colour) + shadow(90, 36) + "<path d='M26 54q0-22 34-22t34 22v20q0 16-34 16T26 74z' fill='url(#b)'/>"
        f"<ellipse cx='60' cy='44' rx='24' ry='9' fill='{shade(colour, 40)}'/>"
        f"<path d='M51 44h4m3 0h4m3 0h4' stroke='{shade(colour, -70)}' stroke-width='2'/>"
    )


def station_two(colour):
    mesh = "".join(f"M{x} {36 - abs(60 - x) // 6}v66" for x in range(32, 90, 4))
    return svg(
        side_light(colour) + shadow(104, 34) + "<path d='M28 26v70q0 9 32 9t32-9V26z' fill='url(#b)'/>"
        f"<path d='{mesh}' stroke='#000' stroke-opacity='.2'/>"
        f"<ellipse cx='60' cy='26' rx='32' ry='10' fill='{shade(colour, -15)}'/>"
        "<ellipse cx='60' cy='26' rx='25' ry='7' fill='none' stroke='#b48cff' stroke-width='3'/>"
    )


def station_two_top(colour):
    return svg(
        f"<circle cx='60' cy='63' r='44' fill='#000' opacity='.1'/><circle cx='60' cy='60' r='44' fill='{colour}'/>"
        f"<circle cx='60' cy='60' r='34' fill='{shade(colour, -25)}'/><circle cx='60' cy='60' r='34' fill='none' stroke='#b48cff' stroke-width='4'/>"
        "<path d='M54 60h12M60 54v12M42 60h6M72 60h6' stroke='#fff' stroke-width='2'/>",
        "#eceaf5",
    )


def station_max(colour):
    dots = "".join(f"<circle cx='{x}' cy='{y}' r='1.6'/>" for x, y in ((48, 40), (54, 36), (60, 40), (66, 44), (72, 40), (60, 46), (54, 44), (66, 36)))
    return svg(
        side_light(colour) + shadow(107, 42) + "<rect x='20' y='14' width='80' height='92' rx='12' fill='url(#b)'/>"
        "<rect x='30' y='24' width='60' height='34' rx='5' fill='#16161c'/>"
        f"<g fill='#c9a6ff'>{dots}</g><path d='M28 68h64M28 75h64M28 82h64M28 89h64M28 96h64' stroke='#000' stroke-opacity='.18' stroke-width='2'/>"
        f"<ellipse cx='60' cy='15' rx='22' ry='3' fill='{shade(colour, 40)}'/>"
    )


def bulb(glass, socket, glow="#ffd76a"):
    return svg(
        f"<radialGradient id='g'><stop stop-color='{glow}'/><stop offset='1' stop-color='{glow}' stop-opacity='0'/></radialGradient>"
        f"<circle cx='60' cy='48' r='46' fill='url(#g)'/><path d='{glass}' fill='#fffbe9' stroke='#d9cfa8' stroke-width='1.5'/>{socket}",
        "#eef1f8",
    )


SCREW = "<path d='M49 84h22v4l-3 3 3 3-3 3 3 3-5 6H54l-5-6 3-3-3-3 3-3-3-3z' fill='#aab0bb'/><path d='M50 91h20M50 97h20' stroke='#7f8591' stroke-width='1.5'/>"
THIN_SCREW = "<path d='M53 82h14v4l-2 3 2 3-2 3 2 3-4 5h-6l-4-5 2-3-2-3 2-3-2-3z' fill='#aab0bb'/><path d='M54 89h12M54 95h12' stroke='#7f8591' stroke-width='1.5'/>"
PINS = "<rect x='47' y='80' width='26' height='14' rx='3' fill='#dfe3ea'/><path d='M54 94v12M66 94v12' stroke='#8c93a0' stroke-width='4'/>"

BULBS = {
    "candle": bulb("M60 16q17 27 14 46-3 17-8 20H54q-5-3-8-20-3-19 14-46z", THIN_SCREW),
    "cylinder": bulb("M42 30q0-8 18-8t18 8v44q0 6-7 10H49q-7-4-7-10z", SCREW, "#b9a2ff"),
    "spot": bulb("M34 40q26-10 52 0l-12 40H46z", PINS, "#8fd0ff"),
    "pear": bulb("M60 16q28 0 28 28 0 14-10 24-6 6-7 16H49q-1-10-7-16-10-10-10-24 0-28 28-28z", SCREW),
}


def plug(colour):
    inside = shade(colour, 28) if colour < "#8" else shade(colour, -25)
    return svg(
        side_light(colour) + shadow(100, 34) + "<rect x='26' y='22' width='68' height='76' rx='26' fill='url(#b)'/>"
        f"<circle cx='60' cy='58' r='24' fill='{inside}'/><circle cx='50' cy='58' r='4' fill='#111'/><circle cx='70' cy='58' r='4' fill='#111'/>"
        "<path d='M60 36v5M60 75v5' stroke='#c9b37a' stroke-width='4'/><circle cx='60' cy='90' r='2.5' fill='#63d471'/>"
    )


REMOTE = svg(
    side_light("#2d2d34") + shadow(96, 38) + "<path d='M22 74q0-26 38-26t38 26q0 22-38 22T22 74z' fill='url(#b)'/>"
    "<ellipse cx='60' cy='68' rx='30' ry='13' fill='#17171c'/><circle cx='60' cy='66' r='2.5' fill='#a77bff'/>"
    "<path d='M48 36q12-9 24 0M41 28q19-14 38 0' fill='none' stroke='#a77bff' stroke-width='3' stroke-linecap='round'/>"
)
TV_MODULE = svg(
    "<rect x='10' y='18' width='100' height='62' rx='5' fill='#23252e'/><rect x='14' y='22' width='92' height='54' fill='#6f4be8'/>"
    "<path d='M52 38l20 11-20 11z' fill='#fff'/><path d='M44 88h32' stroke='#23252e' stroke-width='5'/>"
    "<rect x='70' y='88' width='38' height='20' rx='6' fill='#3a3d49'/><circle cx='80' cy='98' r='2' fill='#8fd0ff'/>"
    "<rect x='12' y='92' width='40' height='12' rx='6' fill='#3a3d49'/><circle cx='20' cy='98' r='3' fill='#a77bff'/><path d='M28 98h16' stroke='#8b8fa0' stroke-width='2' stroke-dasharray='3 3'/>"
)
HUB = svg(
    side_light("#e8e8ec") + shadow(90, 42) + "<path d='M20 60v18q0 13 40 13t40-13V60z' fill='url(#b)'/><ellipse cx='60' cy='60' rx='40' ry='14' fill='#fafafc'/>"
    "<circle cx='60' cy='60' r='5' fill='#a77bff'/><path d='M60 55V38M56 58L38 46M64 58l18-12' stroke='#a77bff' stroke-width='2' stroke-dasharray='2 3'/>"
    "<circle cx='60' cy='34' r='6' fill='#ffd76a'/><circle cx='34' cy='42' r='6' fill='#8fd0ff'/><circle cx='86' cy='42' r='6' fill='#8de0a6'/>"
)
DOOR = svg(
    "<rect x='18' y='14' width='46' height='96' fill='#c99f6b'/><rect x='24' y='22' width='34' height='34' fill='#b98d57'/><circle cx='56' cy='66' r='3' fill='#7a5b33'/>"
    "<rect x='58' y='24' width='14' height='40' rx='4' fill='#fff' stroke='#c8ccd6'/><rect x='76' y='32' width='10' height='26' rx='4' fill='#fff' stroke='#c8ccd6'/>"
    "<circle cx='65' cy='44' r='2.5' fill='#a77bff'/><path d='M92 38q6 7 0 14' fill='none' stroke='#a77bff' stroke-width='2.5'/>"
)
LEAK = svg(
    shadow(98, 40) + "<ellipse cx='60' cy='88' rx='40' ry='14' fill='#d5d9e2'/><ellipse cx='60' cy='82' rx='40' ry='14' fill='#fff' stroke='#d5d9e2'/>"
    "<path d='M60 18q20 26 20 38a20 20 0 0 1-40 0q0-12 20-38z' fill='#5aa9f0'/><path d='M50 58q1 9 9 11' fill='none' stroke='#fff' stroke-width='3' stroke-linecap='round'/>",
    "#eaf3fb",
)
MOTION = svg(
    "<path d='M60 56L14 20M60 56L106 20' stroke='#a77bff' stroke-opacity='.35' stroke-width='2'/><path d='M60 56L14 20Q60-8 106 20z' fill='#a77bff' opacity='.18'/>"
    + shadow(104, 28) + "<rect x='34' y='46' width='52' height='56' rx='16' fill='#fff' stroke='#d5d9e2'/><circle cx='60' cy='68' r='15' fill='#e9e9f2'/><circle cx='60' cy='68' r='8' fill='#3a3d49'/><circle cx='60' cy='92' r='2.5' fill='#ff7d7d'/>"
)
CLIMATE = svg(
    shadow(102, 34) + "<rect x='26' y='22' width='68' height='78' rx='18' fill='#fff' stroke='#d5d9e2'/>"
    "<path d='M46 40a5 5 0 0 1 10 0v26a10 10 0 1 1-10 0z' fill='#f6d3cf'/><circle cx='51' cy='74' r='6' fill='#ee5a4a'/><path d='M51 72V48' stroke='#ee5a4a' stroke-width='4'/>"
    "<path d='M76 50q9 13 9 19a9 9 0 0 1-18 0q0-6 9-19z' fill='#5aa9f0'/>"
)
BUTTON = svg(
    shadow(94, 38) + "<rect x='24' y='24' width='72' height='72' rx='22' fill='#fff' stroke='#d5d9e2'/><circle cx='60' cy='60' r='24' fill='#f0edfb' stroke='#c9b8f7' stroke-width='2'/><circle cx='60' cy='60' r='5' fill='#a77bff'/>"
    "<path d='M88 20q10 4 12 14M94 10q16 6 18 24' fill='none' stroke='#a77bff' stroke-width='2.5' stroke-linecap='round'/>"
)


def icon(body, background):
    return data_uri(f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 64 64'><rect width='64' height='64' rx='14' fill='{background}'/>{body}</svg>")


LINE = "fill='none' stroke='#fff' stroke-width='4' stroke-linecap='round' stroke-linejoin='round'"

# --- categories -----------------------------------------------------------------------------------------------------------

# id in the feeds, priority, English, Armenian, icon
CATEGORIES = [
    (1, 100, "All products", "Բոլոր ապրանքները", icon(f"<path d='M16 26h32v24H16zM16 26l6-12h20l6 12M26 34h12' {LINE}/>", "#7a5cf0")),
    (101, 90, "Electronics", "Էլեկտրոնիկա", icon(f"<path d='M12 16h40v26H12zM24 50h16M32 42v8' {LINE}/>", "#3d7be0")),
    (102, 30, "Clothes", "Հագուստ", icon(f"<path d='M24 14l-12 8 5 9 5-3v22h20V28l5 3 5-9-12-8q-8 7-16 0z' {LINE}/>", "#e0679b")),
    (103, 20, "Souvenirs", "Հուշանվերներ", icon(f"<path d='M14 26h36v8H14zM18 34h28v16H18zM32 26v24M32 26q-14-2-9-10 6-3 9 10 3-13 9-10 5 8-9 10' {LINE}/>", "#e29a3b")),
    (10101, 80, "Smart speakers", "Խելացի բարձրախոսներ", icon(f"<path d='M20 12h24v40H20z' {LINE}/><circle cx='32' cy='38' r='7' {LINE}/><circle cx='32' cy='21' r='2.5' fill='#fff'/>", "#8a4fd8")),
    (10102, 60, "TV", "Հեռուստացույցներ", icon(f"<path d='M10 20h44v26H10zM24 12l8 8 8-8M22 54h20' {LINE}/>", "#2f8f9d")),
    (10103, 70, "Smart home", "Խելացի տուն", icon(f"<path d='M12 32l20-18 20 18M18 28v22h28V28M26 40q6-6 12 0' {LINE}/>", "#3da36a")),
]

# --- items ----------------------------------------------------------------------------------------------------------------

MINI_EN = "A compact 10 W smart speaker with the Alice voice assistant"
MINI_HY = "10 Վտ հզորությամբ կոմպակտ խելացի բարձրախոս՝ Ալիսա ձայնային օգնականով"
LITE_EN = "A bright 5 W smart speaker with Alice, controlled by voice and touch buttons."
LITE_HY = "5 Վտ հզորությամբ վառ խելացի բարձրախոս՝ Ալիսայով. կառավարվում է ձայնով և հպումային կոճակներով։"
TWO_EN = "A second-generation 30 W smart speaker with Alice and Zigbee, the centre of a smart home."
TWO_HY = "30 Վտ հզորությամբ երկրորդ սերնդի խելացի բարձրախոս՝ Ալիսայով և Zigbee-ով, խելացի տան կենտրոնը։"
MAX_EN = "A 65 W smart speaker with three-way sound, five drivers and a built-in Zigbee hub."
MAX_HY = "65 Վտ հզորությամբ խելացի բարձրախոս՝ եռագոտի ձայնով, հինգ դինամիկով և ներկառուցված Zigbee հաբով։"
BULB_EN = "A colour smart bulb with the {} base: switch it on and dim it by voice or from the phone."
BULB_HY = "{} կոթառով գունավոր խելացի լամպ. միացրեք և կարգավորեք ձայնով կամ հեռախոսից։"

# number, picture, stock, discount, rating-and-review key, English name and text, Armenian name and text (None: left out)
ITEMS = {}


def item(number, pictures, stock, discount, en, hy, **more):
    record = {"itemID": number, "id": f"item_{number}", "quantity": stock, "discount": discount, "photos": [{"url": p} for p in pictures]}
    translations = {"en": dict(zip(("name", "simpleDescription"), en))}
    if hy:
        translations["hy"] = dict(zip(("name", "simpleDescription"), hy))
    record.update(more)
    record["translations"] = translations
    ITEMS[number] = record


for n, (ru, en, hy, colour, stock, discount) in enumerate([
    ("Синий сапфир", "blue sapphire", "կապույտ շափյուղա", "#2f4f9e", 64, 0),
    ("Серый опал", "grey opal", "մոխրագույն օպալ", "#9a9da6", 31, 10),
    ("Черный оникс", "black onyx", "սև օնիքս", "#2a2b30", 88, 0),
    ("Красный гранат", "red garnet", "կարմիր նռնաքար", "#9b2335", 5, 0),
]):
    item(110101000001 + n, [station_mini(colour, True)], stock, discount,
         (f"Yandex Station Mini smart speaker with a clock, {en}", f"{MINI_EN} and a clock."),
         (f"Yandex Station Mini խելացի բարձրախոս ժամացույցով, {hy}", f"{MINI_HY} և ժամացույցով։"))
for n, (en, hy, colour, stock, discount) in enumerate([
    ("blue sapphire", "կապույտ շափյուղա", "#2f4f9e", 52, 15),
    ("grey opal", "մոխրագույն օպալ", "#9a9da6", 27, 0),
    ("black onyx", "սև օնիքս", "#2a2b30", 71, 0),
    ("red garnet", "կարմիր նռնաքար", "#9b2335", 3, 20),
]):
    item(110101000005 + n, [station_mini(colour, False)], stock, discount,
         (f"Yandex Station Mini smart speaker without a clock, {en}", f"{MINI_EN}."),
         (f"Yandex Station Mini խելացի բարձրախոս առանց ժամացույցի, {hy}", f"{MINI_HY}։"))
for n, (en, hy, colour, stock, discount) in enumerate([
    ("beige cappuccino", "բեժ կապուչինո", "#c8a98a", 120, 0),
    ("turquoise mint", "փիրուզագույն անանուխ", "#56c2b4", 46, 10),
    ("pink flamingo", "վարդագույն ֆլամինգո", "#f08fa8", 58, 0),
    ("ultraviolet", "մանուշակագույն", "#6a4fc0", 2, 25),
    ("red chilli", "կարմիր չիլի", "#d8352c", 33, 0),
    ("yellow lemon", "դեղին կիտրոն", "#f2cf3a", 0, 0),
]):
    item(110101000009 + n, [station_lite(colour)], stock, discount,
         (f"Yandex Station Lite smart speaker, {en}", LITE_EN), (f"Yandex Station Lite խելացի բարձրախոս, {hy}", LITE_HY))
for n, (en, hy, colour, stock, discount) in enumerate([
    ("cobalt blue", "կապույտ կոբալտ", "#2b3f8f", 24, 0),
    ("copper", "պղնձագույն", "#b4693d", 9, 12),
    ("sand", "ավազագույն", "#cdb892", 18, 0),
    ("black anthracite", "սև անտրացիտ", "#33353b", 55, 0),
    ("ruby red", "կարմիր սուտակ", "#a01f3a", 1, 0),
]):
    item(110101000015 + n, [station_two(colour), station_two_top(colour)], stock, discount,
         (f"Yandex Station 2 smart speaker with Alice, {en}, 30 W", TWO_EN),
         (f"Yandex Station 2 խելացի բարձրախոս Ալիսայով, {hy}, 30 Վտ", TWO_HY))
for n, (en, hy, colour, stock, discount) in enumerate([
    ("beige", "բեժ", "#cbbba4", 12, 0), ("black", "սև", "#2b2c31", 50, 5), ("green", "կանաչ", "#4c6b57", 4, 0),
]):
    item(110101000020 + n, [station_max(colour)], stock, discount,
         (f"Yandex Station Max smart speaker, {en}", MAX_EN), (f"Yandex Station Max խելացի բարձրախոս, {hy}", MAX_HY))

item(110103000001, [BULBS["candle"]], 140, 0, ("Yandex smart bulb E14", BULB_EN.format("E14")),
     ("Yandex խելացի լամպ E14", BULB_HY.format("E14")))
# the feed of Saint Petersburg sells this one as a display sample (<condition type="preowned">)
item(210103000001, [BULBS["candle"]], 2, 30, ("Yandex smart bulb E14, display sample", BULB_EN.format("E14")),
     ("Yandex խելացի լամպ E14, ցուցանմուշ", BULB_HY.format("E14")), name="Умная лампочка Яндекса E14, витринный образец")
item(110103000002, [BULBS["cylinder"]], 96, 0, ("Yandex smart bulb E27", BULB_EN.format("E27")),
     ("Yandex խելացի լամպ E27", BULB_HY.format("E27")))
item(110103000003, [BULBS["spot"]], 75, 10, ("Yandex smart bulb GU10", BULB_EN.format("GU10")),
     ("Yandex խելացի լամպ GU10", BULB_HY.format("GU10")))
item(110103000004, [REMOTE], 38, 0, ("Yandex smart remote", "Controls TVs, air conditioners and other devices over infrared, by voice or from the phone."),
     ("Yandex խելացի հեռակառավարման վահանակ", "Կառավարում է հեռուստացույցը, օդորակիչը և այլ սարքեր ինֆրակարմիր կապով՝ ձայնով կամ հեռախոսից։"))
item(110103000005, [plug("#34363d")], 67, 0, ("Yandex smart plug YNDX-0007", "Switches any device on and off over the internet."),
     ("Yandex խելացի վարդակ YNDX-0007", "Միացնում և անջատում է ցանկացած սարք ինտերնետով։"))
item(110103000006, [plug("#f4f5f7")], 29, 15, ("Yandex smart plug YNDX-0007W, white", "A white smart plug with Wi-Fi and a rated current of 16 A."), None)
item(110103000007, [BULBS["pear"]], 210, 20, ("Yandex smart bulb E27 v2", "A pear-shaped A60 smart bulb, 800 lm, connected over Wi-Fi."),
     ("Yandex խելացի լամպ E27 v2", "A60 տանձաձև խելացի լամպ՝ 800 լմ, միանում է Wi-Fi-ով։"))
item(110103000008, [TV_MODULE], 16, 10, ("Module with Yandex TV and Alice", "Turns a TV with HDMI into a smart one: 4K, Dolby Vision and voice search."),
     ("Մոդուլ՝ Yandex TV-ով և Ալիսայով", "HDMI-ով հեռուստացույցը դարձնում է խելացի՝ 4K, Dolby Vision և ձայնային որոնում։"))
item(110103000009, [HUB], 21, 0, ("Yandex hub for devices", "Connects Zigbee sensors to the smart home and works as an infrared remote."),
     ("Yandex հաբ սարքերի համար", "Zigbee տվիչները միացնում է խելացի տանը և աշխատում որպես ինֆրակարմիր վահանակ։"))
item(110103000010, [DOOR], 44, 0, ("Yandex door sensor", "A small wireless sensor that notices when a door or a window opens."), None)
item(110103000011, [LEAK], 53, 0, ("Yandex leak sensor, Zigbee", "Sends a notification to the phone when it finds water."), None)
item(110103000012, [MOTION], 35, 15, ("Yandex motion sensor", "Notices movement up to 7 m away and starts lighting scenarios."),
     ("Yandex շարժման տվիչ", "Նկատում է շարժումը մինչև 7 մ հեռավորությունից և գործարկում լուսավորության սցենարներ։"))
item(110103000013, [CLIMATE], 40, 0, ("Yandex temperature and humidity sensor", "Measures the climate of a room and switches on smart devices when needed."),
     ("Yandex ջերմաստիճանի և խոնավության տվիչ", "Չափում է սենյակի ջերմաստիճանն ու խոնավությունը և անհրաժեշտության դեպքում միացնում խելացի սարքերը։"))
item(110103000014, [BUTTON], 26, 0, ("Yandex wireless button, Zigbee, YNDX-00524", "One press, two presses and a long press start three different scenarios."), None)

# In the feed of Saint Petersburg the model's colour is that of another offer; its own <param> and picture say grey opal.
ITEMS[110101000006]["name"] = "Умная колонка Яндекс Станция Мини без часов Серый опал"

BADGES = {
    110101000001: ["bestseller"], 110101000003: ["bestseller"], 110101000009: ["bestseller"], 110101000012: ["sale"],
    110101000008: ["sale"], 110101000018: ["bestseller"], 110101000022: ["new"], 110101000021: ["bestseller"],
    110103000007: ["sale", "bestseller"], 210103000001: ["sale"], 110103000009: ["new"], 110103000013: ["new"],
    110103000014: ["new"], 110103000002: ["bestseller"],
}
PRIORITY = {"bestseller": 60, "new": 40, "sale": 20}

# stars, date, text
COMMENTS = {
    110101000001: [
        (5, "2025-11-08T09:12:40Z", "Часы видно даже ночью, яркость сама уменьшается."),
        (5, "2025-12-19T18:03:11Z", "Дети каждый вечер просят сказку."),
        (4, "2026-01-22T07:45:02Z", "Звук хороший, провод питания коротковат."),
    ],
    110101000002: [(5, "2025-12-02T13:20:55Z", "Clear voice, easy to set up, the clock is handy.")],
    110101000003: [
        (5, "2025-10-14T16:31:09Z", "Слышит команды из соседней комнаты."),
        (3, "2025-12-28T20:10:47Z", "На полной громкости немного хрипит."),
    ],
    110101000005: [(5, "2026-02-03T11:05:36Z", "Մաքուր ձայն է, երեխաները շատ են սիրում։")],
    110101000007: [(4, "2025-11-30T08:58:20Z", "Хорошая колонка, но часов всё же не хватает.")],
    110101000009: [
        (5, "2025-09-21T14:44:18Z", "Маленькая, а играет громко."),
        (5, "2026-01-05T10:17:33Z", "Взяли на кухню, рецепты читает вслух."),
        (4, "2026-02-11T19:26:05Z", "Good little speaker for a bedroom."),
    ],
    110101000011: [(5, "2025-12-31T12:00:27Z", "Подарили дочке, цвет точно как на картинке.")],
    110101000014: [(5, "2025-10-02T17:39:51Z", "Яркая, настроение поднимает с утра.")],
    110101000018: [
        (5, "2025-11-17T21:08:14Z", "Бас глубокий, лампочки подключились без хаба."),
        (5, "2026-01-14T15:52:43Z", "Две штуки в стереопаре заменили музыкальный центр."),
        (2, "2026-02-08T09:34:00Z", "Первая не включалась, обменяли через четыре дня."),
    ],
    110101000016: [(4, "2025-12-09T18:47:22Z", "Медный цвет живьём темнее, но красивый.")],
    110101000021: [
        (5, "2025-10-27T20:20:20Z", "Звучит на всю квартиру без искажений."),
        (5, "2026-01-29T22:01:58Z", "Կինոյի համար հիանալի է, բասը ուժեղ է։"),
        (4, "2026-02-16T12:13:49Z", "Тяжёлая, зато стоит устойчиво."),
    ],
    110103000002: [
        (5, "2025-11-25T19:05:31Z", "Подключилась с первого раза, цвета насыщенные."),
        (3, "2026-01-11T08:22:16Z", "Иногда отвечает с задержкой."),
    ],
    110103000007: [
        (5, "2025-12-15T17:50:09Z", "За эти деньги взяли сразу шесть штук."),
        (5, "2026-02-20T06:41:44Z", "Bright enough for a kitchen, works fine with Alice."),
    ],
    110103000004: [(4, "2025-11-03T10:36:28Z", "Старый кондиционер теперь слушается голоса, телевизор нашёлся не сразу.")],
    110103000005: [(5, "2025-12-23T07:15:53Z", "Включаем обогреватель на даче перед приездом.")],
    110103000008: [(4, "2026-01-18T21:33:12Z", "Телевизору десять лет, а стал как новый.")],
    110103000009: [(5, "2026-02-05T16:27:38Z", "Датчики увидел мгновенно, пульт больше не ищем.")],
    110103000012: [(5, "2025-12-06T06:59:01Z", "Ночью свет в коридоре включается сам.")],
    110103000013: [(5, "2026-01-26T13:42:17Z", "Показания совпали с комнатным термометром.")],
}
QUESTIONS = {
    110101000001: [
        ("Можно ли выключить подсветку часов?", "Да, в настройках приложения или голосом.", 12, 0),
        ("Работает ли колонка без интернета?", "Для ответов и музыки нужен Wi-Fi, без него доступен только Bluetooth.", 9, 2),
    ],
    110101000018: [("Нужен ли отдельный хаб для датчиков?", "Нет, эта колонка сама поддерживает Zigbee.", 15, 0)],
    110103000007: [("Подойдёт ли лампочка к обычному выключателю?", "Да, но пока выключатель выключен, управлять ею голосом не получится.", 21, 1)],
    110103000012: [("Нужен ли хаб для датчика?", "Нужен Хаб Яндекса или Станция с поддержкой Zigbee.", 8, 0)],
}


def main():
    categories, offers = {}, []
    for feed in ("moscow.xml", "spb.xml"):
        shop = ET.parse(HERE / feed).getroot().find("shop")
        for c in shop.find("categories"):
            categories[int(c.get("id"))] = c.get("parentId")
        for o in shop.find("offers"):
            if int(o.get("id")) not in offers:
                offers.append(int(o.get("id")))
    if set(categories) != {c[0] for c in CATEGORIES} or set(offers) != set(ITEMS):
        sys.exit("the feeds and this file do not name the same categories or offers")

    out = []
    for number, priority, en, hy, picture in CATEGORIES:
        top = categories[number] is None
        record = {"categoryID": number, "id": f"{'cat' if top else 'sub'}_{number}", "icon" if top else "img": picture, "priority": priority}
        record["translations"] = {"en": {"name": en}, "hy": {"name": hy}}
        out.append(record)
    for number in sorted(offers):
        record = ITEMS[number]
        badges = BADGES.get(number, [])
        record["priority"] = sum(PRIORITY[b] for b in badges) + 10
        if badges:
            record["badges"] = badges
        said = COMMENTS.get(number, [])
        if said:
            record["rating"] = round(sum(c[0] for c in said) / len(said), 1)
            record["comments"] = [
                {
                    "id": f"cmt_{number}_{n}",
                    "text": text,
                    "author": "user_" + hashlib.sha256(f"{number}/{n}".encode()).hexdigest()[:8],
                    "stars": stars,
                    "createdAt": when,
                }
                for n, (stars, when, text) in enumerate(said, 1)
            ]
        if number in QUESTIONS:
            record["questions"] = [dict(zip(("question", "answer", "upvotes", "downvotes"), q)) for q in QUESTIONS[number]]
        out.append(record)

    lines = "".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in out)
    target = HERE / "delta.jsonl"
    if "--check" in sys.argv[1:]:
        sys.exit(0 if target.exists() and target.read_text(encoding="utf-8") == lines else "delta.jsonl is out of date")
    target.write_bytes(lines.encode())
    print(f"{target.name}: {len(CATEGORIES)} categories, {len(offers)} items, {len(lines.encode())} bytes")


if __name__ == "__main__":
    main()
