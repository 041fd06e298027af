"""Writes the seeds of project_template: invented people and companies that look like a CRM export.

    python bench/template_seeds.py project_template/seeds

The same seed gives the same bytes, so a change of this file shows as a diff of the CSV files. All web and mail
addresses are under `.example`, which never resolves; phone numbers use 555 exchanges. Blanks, padding, `n/a`, line
breaks, quotes and near-duplicate companies are deliberate; every row is valid once the models have cleaned it.
"""

from __future__ import annotations

import csv
import datetime as dt
import random
import re
import sys
import unicodedata
from pathlib import Path

TODAY = dt.date(2026, 10, 31)
ACCOUNTS, CONTACTS, SUBSCRIPTIONS = 2000, 10000, 3000

# culture: weight, country, dialling code, cities with postal code, street form, first names, last names, company words, legal form
CULTURES = {
    "us": (20, "United States", "+1 212 555", "New York 10013|Austin 78701|Portland 97205|Chicago 60607|Boise 83702|Atlanta 30303", "{n} {s} Street", "James|Mary|Aaliyah|Noah|Olivia|Tyrone|Grace|Ethan|Ruth|Marcus|Hannah|Diego|Chloe|Wyatt|Imani", "Smith|Johnson|O'Brien|Washington|Nguyen-Lee|Carter|Ramirez|McAllister|Brooks|Goldberg|Reed|St. John|Hughes|Delgado", "Cedar|Summit|Granite|Blue Heron|Lakeshore|Ironwood|Prairie|Northgate|Harbor|Redstone", "Inc.|LLC|Corp."),
    "uk": (9, "United Kingdom", "+44 20 755", "London EC1A 4HD|Leeds LS1 5AB|Bristol BS1 4DJ|Glasgow G2 1AL|Cardiff CF10 1EP", "{n} {s} Road", "Oliver|Amelia|Harry|Isla|George|Priya|Freya|Callum|Siân|Alfie|Niamh", "Jones|Taylor|Patel|Ashworth|MacDonald|Llewellyn|Fitzgerald|Okafor|Whitcombe|Khan|Smythe-Hall", "Thistle|Albion|Kestrel|Foxglove|Severn|Pennine|Marlow|Wren", "Ltd|PLC|Partners LLP"),
    "de": (10, "Deutschland", "+49 30 555", "Berlin 10115|München 80331|Köln 50667|Nürnberg 90402|Düsseldorf 40213|Görlitz 02826", "{s}straße {n}", "Jürgen|Käthe|Lukas|Anneliese|Björn|Greta|Matthias|Zoë|Hannelore|Jörg|Mia|Özlem", "Müller|Schröder|Weiß|von der Heide|Köhler|Bäcker|Groß|Yıldız|Löwenstein|Krüger|Fuß|Schmidt", "Nordlicht|Rheingold|Süßwerk|Fährmann|Grünspan|Hanseatic|Weißbach|Eichenhof", "GmbH|AG|GmbH & Co. KG"),
    "fr": (8, "France", "+33 1 55 55", "Paris 75011|Lyon 69002|Saint-Étienne 42000|Nîmes 30000|Orléans 45000", "{n} rue {s}", "Élodie|François|Chloé|Jérôme|Anaïs|Loïc|Hélène|Mathéo|Gaëlle|Rémi|Noémie", "Lefèvre|Dubois|Gérard|D'Artois|Béranger|Lemaître|Müller-Roche|Fontaine|Traoré|Castaño|Hébert", "Lumière|Château Gris|Hirondelle|Mistral|Bois d'Or|Étoile|Rivière|Fleur de Sel", "SARL|SAS|SA"),
    "es": (7, "España", "+34 91 555", "Madrid 28013|Málaga 29015|A Coruña 15003|Logroño 26001|Cádiz 11004", "Calle {s} {n}", "José|María|Íñigo|Begoña|Ángel|Lucía|Nuño|Concepción|Raúl|Inés", "García|Muñoz|Ibáñez de la Peña|Núñez|Rodríguez|Peñalver|Cañadas|López|Echeverría", "Sol y Mar|Peñascal|Olivares|Brisa|Montaña|Azahar", "S.L.|S.A."),
    "br": (6, "Brasil", "+55 11 5555", "São Paulo 01310-100|Florianópolis 88010-000|Brasília 70040-010|Belém 66010-020", "Rua {s}, {n}", "João|Luíza|Antônio|Conceição|Thiago|Mônica|Caio|Flávia|Otávio", "da Silva|Gonçalves|Araújo|Magalhães|dos Santos|Brandão|Conceição|Simões", "Ipê Amarelo|Araçá|Maré Alta|Pão de Açúcar|Jatobá|Sertão", "Ltda.|S.A."),
    "pl": (5, "Polska", "+48 22 555", "Kraków 31-000|Łódź 90-001|Wrocław 50-001|Gdańsk 80-001", "ul. {s} {n}", "Paweł|Małgorzata|Łukasz|Agnieszka|Stanisław|Zofia|Wojciech|Jagoda", "Wójcik|Dąbrowska|Kowalczyk|Żak|Śliwiński|Łoś|Jabłoński|Brzęczyszczykiewicz", "Bursztyn|Żubr|Wisła|Jaskółka|Tatry", "sp. z o.o.|S.A."),
    "se": (5, "Sverige", "+46 8 555", "Göteborg 411 03|Malmö 211 22|Västerås 722 11|Umeå 903 26", "{s}gatan {n}", "Åsa|Björn|Märta|Göran|Linnéa|Håkan|Saga|Östen", "Lindström|Åkesson|Sjöberg|Östlund|Bergqvist|Ek|Hägg|Nyström", "Norrsken|Älgen|Fjäll|Smörgås|Granskog|Sjöstad", "AB|HB"),
    "tr": (4, "Türkiye", "+90 212 555", "İstanbul 34110|İzmir 35210|Eskişehir 26010|Şanlıurfa 63000", "{s} Caddesi No: {n}", "İpek|Çağlar|Şebnem|Oğuz|Gülşah|Ümit|Ayşe|Kıvanç", "Yıldırım|Çelik|Öztürk|Şahin|Güneş|Işık|Kılıç|Doğan", "Boğaz|Işıltı|Çınar|Gökkuşağı|Ege", "A.Ş.|Ltd. Şti."),
    "cz": (3, "Česko", "+420 255 5", "Praha 110 00|Plzeň 301 00|České Budějovice 370 01", "{s} {n}", "Jiří|Božena|Ondřej|Žofie|Řehoř|Kateřina|Štěpán", "Dvořák|Novotný|Šťastný|Černá|Říha|Kučerová|Žižka", "Bystřina|Křišťál|Růžový Les|Zřídlo", "s.r.o.|a.s."),
    "ie": (3, "Ireland", "+353 1 555", "Dublin D02 X285|Galway H91 E2R0|Cork T12 W8KP", "{n} {s} Lane", "Aoife|Séamus|Caoimhe|Pádraig|Siobhán|Eoin|Róisín|Oisín", "Ó Súilleabháin|O'Connor|Ní Bhriain|Murphy|Mac Cárthaigh|Doyle|Fitzpatrick", "Clover Bay|Claddagh|Sliabh|Oakfort", "Ltd|DAC"),
    "vn": (4, "Việt Nam", "+84 28 5555", "Hà Nội 100000|Đà Nẵng 550000|Huế 530000", "{n} Đường {s}", "Nguyễn Văn An|Trần Thị Hương|Đức|Phượng|Quốc Bảo|Thùy Linh|Mỹ Duyên", "Nguyễn|Trần|Lê|Phạm|Đặng|Vũ|Đỗ|Bùi", "Hoa Sen|Đông Phong|Sông Hồng|Bạch Mã", "TNHH|JSC"),
    "jp": (5, "日本", "+81 3 5555", "東京 100-0001|大阪 530-0001|京都 600-8216|札幌 060-0001", "{s}{n}番地", "翔太|さくら|健一|美咲|大輔|葵|陽菜|蓮", "佐藤|鈴木|高橋|渡辺|伊藤|山本|中村|小林", "桜井|富士見|青空|北斗|若葉", "株式会社|合同会社"),
    "cn": (4, "中国", "+86 21 5555", "上海 200001|深圳 518001|成都 610001", "{s}路{n}号", "伟|芳|娜|秀英|敏|静|丽|强", "王|李|张|刘|陈|欧阳|赵|司马", "东方|金桥|长江|云帆|海天", "有限公司|股份有限公司"),
    "in": (6, "India", "+91 80 5555", "Bengaluru 560001|Pune 411001|Jaipur 302001|Kochi 682001", "{n}, {s} Marg", "Aarav|Lakshmi|Vivaan|Ananya|Arjun|Deepika|Rohan|Meera|आरव|Sunita", "Sharma|Iyer|Chatterjee|Reddy|Nair|Banerjee|Kapoor|Venkataraghavan|Singh", "Lotus|Himalaya|Monsoon|Peepal|Indus|Saffron", "Pvt. Ltd.|Ltd."),
    "gr": (3, "Ελλάδα", "+30 21 5555", "Αθήνα 105 57|Θεσσαλονίκη 546 24|Πάτρα 262 21", "Οδός {s} {n}", "Γιώργος|Ελένη|Δημήτρης|Κατερίνα|Νίκος|Αθηνά", "Παπαδόπουλος|Νικολάου|Γεωργίου|Καραγιάννη|Βλάχος", "Αιγαίο|Ελιά|Θάλασσα|Φάρος", "Α.Ε.|Ε.Π.Ε."),
    "eg": (3, "مصر", "+20 2 5555", "القاهرة 11511|الإسكندرية 21500", "{n} شارع {s}", "أحمد|فاطمة|محمد|ليلى|يوسف|مريم", "حسن|إبراهيم|السيد|عبد الرحمن|منصور", "النيل|الأهرام|الواحة", "ش.م.م."),
    "ng": (3, "Nigeria", "+234 1 555", "Lagos 100001|Abuja 900001|Ibadan 200001", "{n} {s} Close", "Chidinma|Olúwaṣeun|Adébáyò|Ngozi|Emeka|Folákẹ́", "Okonkwo|Adéyẹmí|Eze|Balogun|Nwosu|Ògúnlẹ́yẹ", "Baobab|Palmwine|Benue|Savannah", "Ltd|PLC"),
}  # fmt: skip
STREETS = "Mill|Park|Garden|Station|River|Market|Linden|Chapel|Orchard|Castle|Harbour|Victoria"
LOCAL_STREETS = {
    "de": "Goethe|Linden|Bahnhof|Rosen|Schloß|Mühlen", "fr": "de l'Église|Molière|des Érables|Saint-André|du Moulin",
    "es": "Mayor|Cervantes|del Río|San Martín", "br": "das Flores|XV de Novembro|São Bento", "pl": "Długa|Mickiewicza|Świętojańska",
    "se": "Storg|Kungs|Björk|Kyrko", "tr": "Atatürk|İstiklal|Gül", "cz": "Dlouhá|Nádražní|Květná", "vn": "Lê Lợi|Trần Phú|Hai Bà Trưng",
    "jp": "本町|中央|桜木町", "cn": "人民|中山|解放", "gr": "Ερμού|Αριστοτέλους", "eg": "التحرير|النصر", "in": "Gandhi|Nehru|Temple",
}  # fmt: skip
TRADES = "Logistics|Foods|Robotics|Textiles|Energy|Health|Software|Insurance|Media|Marine|Optics|Travel|Furniture|Analytics|Seeds|Studios"
INDUSTRIES = "Agriculture|Apparel|Banking|Biotechnology|Chemicals|Construction|Consulting|Education|Electronics|Energy|Engineering|Entertainment|Finance|Food & Beverage|Healthcare|Hospitality|Insurance|Machinery|Manufacturing|Media|Retail|Shipping|Technology|Telecommunications|Transportation|Utilities"
TITLES = "Head of Operations|CFO|Chief of Staff|Data Engineer|Buyer|Office Manager|VP Sales|Marketing Lead|IT Administrator|Directrice financière|Geschäftsführer|Gerente de Compras|Support Agent|Founder & CEO|Accountant|Kierownik działu|Product Owner|Intern"
DEPARTMENTS = "Operations|Finance|IT|Sales|Marketing|Support|Purchasing|Product|Research"
INTERESTS = ["Analytics", "Billing", "Integrations", "Mobile", "Reporting", "Security"]
NOTES = [
    "Renewal talk planned.\nAsked for a quote in EUR.", 'Calls the product "the cockpit".', "Paused during the audit;\nresumed after sign-off.",
    "Prefers invoices by post, please!", "50% discount until the pilot ends, then list price", "Migrated from the old plan.\n\nKeep the seat price.",
    "Contact: accounting, not the buyer", "Said: \"great, but where is dark mode?\"", "Größere Bestellung im Herbst geplant.", "À rappeler après les congés d'été.",
]  # fmt: skip
ABOUT = [
    "Family business in the third generation.\nDecides slowly, pays early.", 'Known locally as "the old mill".', "Two sites; the second one opened in spring.",
    "Bought by a holding; new purchasing rules apply.\nAsk for the framework contract.", "Partner since the first conference, speaks at our events.",
    "Uses three of our competitors as well, 100 % sure.", "Spécialiste du sur-mesure; contact préféré : téléphone.", "Große Kundschaft in Österreich, früher Großhandel.",
]  # fmt: skip
# Latin letters that do not decompose, and the scripts we romanise away by using the customer's number instead.
PLAIN = str.maketrans({"ł": "l", "Ł": "L", "ß": "ss", "ı": "i", "đ": "d", "Đ": "D", "ø": "o", "æ": "ae"})


def slug(text: str) -> str:
    """ASCII letters and digits, for host names and mail boxes; '' when nothing is left."""
    flat = unicodedata.normalize("NFKD", text.translate(PLAIN)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", flat).strip("-")


def maybe(rng: random.Random, share: float, value: object) -> object:
    """The value, or one of the ways in which an export says nothing."""
    return value if rng.random() >= share else rng.choice(["", "", "", " ", "n/a", "-"])


def padded(rng: random.Random, text: str) -> str:
    return f"{rng.choice(['', ' '])}{text}{rng.choice(['  ', ' '])}" if rng.random() < 0.03 else text


def pick(rng: random.Random, words: str) -> str:
    return rng.choice(words.split("|"))


def day(rng: random.Random, first: dt.date, last: dt.date) -> dt.date:
    return first + dt.timedelta(days=rng.randrange((last - first).days + 1))


def moment(rng: random.Random, date: dt.date) -> str:
    return f"{date} {rng.randrange(6, 22):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"


def address(rng: random.Random, culture: str) -> tuple[str, str, str, str]:
    _, country, _, cities, form, *_ = CULTURES[culture]
    words = pick(rng, cities).split(" ")
    cut = next(i for i, word in enumerate(words) if any(c.isdigit() for c in word))
    street = form.format(n=rng.randrange(1, 240), s=pick(rng, LOCAL_STREETS.get(culture, STREETS)))
    if rng.random() < 0.06:
        street += rng.choice(["\nBuilding B", "\n3rd floor", "\nc/o Reception"])
    return street, " ".join(words[:cut]), " ".join(words[cut:]), country


def account(rng: random.Random, number: int, earlier: list[dict[str, object]]) -> dict[str, object]:
    culture = rng.choices(list(CULTURES), [entry[0] for entry in CULTURES.values()])[0]
    words, legal = CULTURES[culture][7], CULTURES[culture][8]
    name = f"{pick(rng, words)} {pick(rng, TRADES)} {pick(rng, legal)}"
    if rng.random() < 0.3:
        name = f"{pick(rng, words)} & {pick(rng, CULTURES[culture][6])} {pick(rng, legal)}"
    if earlier and rng.random() < 0.03:  # the same company, keyed in twice
        twin = rng.choice(earlier[-400:])
        culture, base = str(twin["_culture"]), str(twin["name"]).strip()
        name = rng.choice(
            [base.upper(), base.replace(".", ""), f"{base} ", base.replace(" ", "  ", 1), f"The {base}"]
        )
    street, city, code, country = address(rng, culture)
    since = day(rng, dt.date(2016, 1, 4), dt.date(2026, 9, 30))
    employees = int(rng.lognormvariate(4.0, 1.3)) + 1
    host = f"{slug(name)[:40].strip('-') or 'company'}-{number}.example"
    return {
        "_culture": culture,
        "_host": host,
        "_since": since,
        "account_id": f"A-{10000 + number}",
        "name": padded(rng, name),
        "phone": maybe(rng, 0.08, f"{CULTURES[culture][2]} {rng.randrange(1000, 9999)}"),
        "website": maybe(rng, 0.15, f"https://www.{host}"),
        "industry": maybe(rng, 0.1, pick(rng, INDUSTRIES)),
        "employees": maybe(rng, 0.12, employees),
        "annual_revenue": maybe(rng, 0.2, employees * rng.randrange(40, 220) * 1000),
        "street": maybe(rng, 0.05, street),
        "city": city,
        "postal_code": maybe(rng, 0.04, code),
        "country": country,
        "description": rng.choice(ABOUT) if rng.random() < 0.12 else "",
        "customer_since": since,
        "last_seen": moment(rng, day(rng, max(since, dt.date(2026, 5, 1)), TODAY))
        if rng.random() < 0.8
        else "",
        "nps": rng.choices(["", 10, 9, 8, 7, 6, 4, 2, 0, -30], [30, 14, 16, 14, 9, 7, 4, 3, 2, 1])[0],
    }


def contact(rng: random.Random, number: int, home: dict[str, object] | None) -> dict[str, object]:
    culture = str(home["_culture"]) if home and rng.random() < 0.85 else rng.choice(list(CULTURES))
    first, last = pick(rng, CULTURES[culture][5]), pick(rng, CULTURES[culture][6])
    box = ".".join(filter(None, (slug(first)[:20].strip("-"), slug(last)[:20].strip("-"))))
    host = str(home["_host"]) if home else rng.choice(["mail.example", "post.example", "inbox.example"])
    email = (
        f"{box}.{number}@{host}" if box and len(f"{box}.{number}@{host}") <= 80 else f"contact{number}@{host}"
    )
    street, city, code, country = address(rng, culture) if rng.random() < 0.3 else ("", "", "", "")
    wants = rng.sample(INTERESTS, rng.choices([0, 1, 2, 3, 4], [35, 30, 20, 10, 5])[0])
    spent = round(rng.lognormvariate(5.5, 1.6), 2) if rng.random() < 0.7 else 0
    return {
        "customer_id": f"C-{10000 + number}",
        "account_id": home["account_id"] if home else "",
        "first_name": maybe(rng, 0.03, padded(rng, first)),
        "last_name": padded(rng, last),
        "email": maybe(rng, 0.05, email.upper() if rng.random() < 0.01 else email),
        "phone": maybe(rng, 0.45, f"{CULTURES[culture][2]} {rng.randrange(1000, 9999)}"),
        "title": maybe(rng, 0.3, pick(rng, TITLES)),
        "department": maybe(rng, 0.4, pick(rng, DEPARTMENTS)),
        "street": street,
        "city": city,
        "postal_code": code,
        "country": country,
        "birthdate": day(rng, dt.date(1955, 1, 1), dt.date(2004, 12, 31)) if rng.random() < 0.25 else "",
        "interests": rng.choice(["; ", ";"]).join(wants),
        "last_login": moment(rng, day(rng, dt.date(2026, 1, 1), TODAY)) if rng.random() < 0.75 else "",
        "lifetime_value": f"{spent:.2f}" if spent else rng.choice(["0", "0.00", ""]),
        "preferred_time": rng.choice(["", "", "", "09:00", "10:30", "13:15:00", "16:45"]),
        "is_champion": rng.choices(["no", "yes", "No", "YES", ""], [60, 8, 12, 2, 18])[0],
    }


def subscription(rng: random.Random, number: int, home: dict[str, object]) -> dict[str, object]:
    plan = rng.choices(["starter", "growth", "enterprise"], [50, 35, 15])[0]
    status = rng.choices(["active", "trialing", "past_due", "cancelled"], [68, 8, 6, 18])[0]
    seats = {
        "starter": rng.randrange(1, 6),
        "growth": rng.randrange(4, 41),
        "enterprise": rng.randrange(30, 600),
    }[plan]
    start = day(rng, home["_since"], TODAY - dt.timedelta(days=10))  # type: ignore[arg-type]
    end = ""
    if status == "cancelled":
        end = day(rng, start, TODAY)
    elif rng.random() < 0.4:
        end = TODAY + dt.timedelta(days=rng.randrange(5, 720))
    each = {"starter": 1900, "growth": 2900, "enterprise": 4200}[plan]
    return {
        "subscription_id": f"S-{10000 + number}",
        "account_id": home["account_id"],
        "plan": rng.choice([plan, plan, plan, plan.title(), f"{plan} "]),
        "status": status,
        "mrr_cents": 0 if status == "trialing" else seats * each - rng.choice([0, 0, 0, 1, 500]),
        "seats": seats,
        "start_date": start,
        "end_date": end,
        "auto_renew": rng.choices(["true", "false", ""], [70, 22, 8])[0],
        "notes": rng.choice(NOTES) if rng.random() < 0.15 else "",
    }


def write(path: Path, rows: list[dict[str, object]]) -> None:
    names = [name for name in rows[0] if not name.startswith("_")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([row[name] for name in names] for row in rows)
    print(f"{path}: {len(rows)} rows, {path.stat().st_size:,} bytes")


def main(folder: Path) -> None:
    rng = random.Random(20261031)
    accounts: list[dict[str, object]] = []
    for number in range(1, ACCOUNTS + 1):
        accounts.append(account(rng, number, accounts))
    weights = [rng.paretovariate(1.3) for _ in accounts]
    homes = rng.choices([*accounts, None], [*weights, sum(weights) * 0.03], k=CONTACTS)
    write(folder / "crm_accounts.csv", accounts)
    write(folder / "crm_contacts.csv", [contact(rng, n, home) for n, home in enumerate(homes, 1)])
    owners = rng.choices(accounts, weights, k=SUBSCRIPTIONS)
    write(
        folder / "billing_subscriptions.csv", [subscription(rng, n, home) for n, home in enumerate(owners, 1)]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
