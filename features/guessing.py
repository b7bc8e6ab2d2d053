"""Which canonical column a column of somebody's file may be: words, and how well they fit.

Words are compared token by token: ``CustomerID``, ``customer_id`` and ``Customer Id`` are equal,
and so are ``Artikelnr.`` and ``Artikelnummer``.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date

ID = "customer id|customer|customer no|customer nr|customer number|customer ref|customer key|cust id|cust no|client id|client|client no|user id|user|shopper id|shopper|household id|household key|household|member id|member|account id|account no|account|buyer id|buyer|kunde|kunden id|kundennummer|客户|客户编号|客户id|顾客|会员|会员号|会员id|用户|用户id"  # noqa: E501
CLOCK = "event time|timestamp|event timestamp|time|date|datetime|date time|day|at|when|created at|created|happened at|occurred at|datum|zeit|zeitpunkt|日期|时间"  # noqa: E501
PRODUCT = "product id|product|product code|product no|sku|stock code|item id|item|item code|item no|article|article id|article no|artikel|artikelnummer|lineitem sku|ean|asin|material|商品|商品编号|商品id"  # noqa: E501
WORDS: dict[str, dict[str, str]] = {
    "order_lines": {
        "customer_ref": ID,
        "order_id": "order id|order|increment id|order no|order nr|order number|invoice|invoice no|invoice id|basket id|basket|transaction id|receipt|receipt id|receipt no|bestellung|bestellnummer|auftrag|auftragsnummer|rechnung|rechnungsnummer|订单|订单号|订单编号",  # noqa: E501
        "product_id": PRODUCT,
        "quantity": "quantity|qty|qty ordered|units|pieces|items|lineitem quantity|menge|anzahl|stück|数量",  # noqa: E501
        "unit_price": "unit price|price|price each|item price|lineitem price|preis|einzelpreis|stückpreis|单价|价格",  # noqa: E501
        "amount_minor": "amount|line total|line amount|total|total price|sales value|revenue|sales|net amount|gross amount|spend|betrag|umsatz|gesamtpreis|summe|positionssumme|zeilensumme|gesamtbetrag|金额|销售额",  # noqa: E501
        "event_time": f"invoice date|order date|order time|ordered at|placed at|placed|ordered|purchased|transaction timestamp|transaction date|purchase date|purchased at|sale date|sold at|bestelldatum|bestellt am|rechnungsdatum|下单时间|订单日期|{CLOCK}",  # noqa: E501
        "channel": "channel|sales channel|shop|platform|kanal|渠道",
        "discount_minor": "discount|discount amount|disc|retail disc|rabatt|折扣",
    },
    "products": {
        "product_id": f"{PRODUCT}|id",
        "event_time": f"valid from|launched|launched at|launch date|available from|{CLOCK}",
        "name": "name|title|product name|product title|product description|item name|item description|lineitem name|product type|description|bezeichnung|artikelbezeichnung|商品名称",  # noqa: E501
        "category": "category|group|product category|product group|department|kategorie|warengruppe|类别",  # noqa: E501
        "brand": "brand|manufacturer|marke|品牌",
        "price_minor": "list price|price|unit price|rrp|listenpreis|价格",
    },
    "customers": {
        "customer_ref": f"{ID}|id",
        "event_time": f"valid from|updated at|snapshot date|as of|stand|{CLOCK}",
        "signup_time": "signup|signup date|signup time|signed up at|registered|registered at|registration date|created at|customer since|member since|join date|joined|joined at|signed up|anmeldung|angemeldet am|angelegt am|registriert am|kunde seit|注册时间",  # noqa: E501
        "acquisition_channel": "acquisition channel|came by|utm source|referrer|acquired by|source",
        "region": "region|state|province|county|bundesland|地区|省份",
        "country": "country|land|国家",
        "language": "language|locale|lang|sprache|语言",
        "gender": "gender|sex|geschlecht|性别",
        "birth_year": "birth year|born|year of birth|yob|geburtsjahr|出生年份",
    },
    "events": {
        "customer_ref": ID,
        "event_time": CLOCK,
        "channel": "channel|platform|source|kanal|渠道",
        "kind": "event name|event|event type|action|activity|activity type|kind|type|ereignis|事件",
        "session_id": "session id|session|visit id|visit|会话",
        "product_id": PRODUCT,
        "duration_s": "duration|duration s|duration seconds|engaged s|seconds|dwell|dauer",
        "device": "device|device type|gerät|设备",
    },
    "contacts": {
        "customer_ref": ID,
        "event_time": f"sent|sent at|send date|send time|contacted at|delivered at|{CLOCK}",
        "contact_id": "contact id|message|message id|send id|mail id|mailing id|delivery id",
        "channel": "channel|medium|kanal",
        "campaign": "campaign|campaign id|campaign name|kampagne|活动",
        "offer": "offer|offer id|promotion|angebot",
        "cost_minor": "cost|costs|kosten",
        "arm": "arm|group|variant|treatment|test group",
        "assignment_probability": "p arm|assignment probability|propensity",
    },
    "responses": {
        "customer_ref": ID,
        "event_time": f"responded at|clicked at|opened at|{CLOCK}",
        "contact_id": "contact id|message|message id|send id|mail id|mailing id|delivery id",
        "kind": "kind|response|reaction|result|event|event type|status|type",
    },
    "feedback": {
        "customer_ref": ID,
        "event_time": f"review date|reviewed at|answered at|opened at|{CLOCK}",
        "kind": "kind|type|feedback type|art",
        "channel": "channel|kanal|渠道",
        "topic": "topic|subject|class name|reason|thema",
        "score": "score|rating|stars|csat|nps|bewertung|评分",
        "text": "text|review text|review|comment|body|message|feedback|kommentar|评论",
        "thread_id": "ticket|ticket id|thread|thread id|case|case id|conversation id",
        "product_id": PRODUCT,
    },
    "loyalty": {
        "customer_ref": ID,
        "event_time": f"booked at|booking date|posted at|{CLOCK}",
        "kind": "booking|movement|kind|transaction type|type|event",
        "points": "points|punkte|积分",
        "tier": "tier|level|stufe|等级",
    },
    "devices": {
        "customer_ref": ID,
        "event_time": f"first seen|seen at|{CLOCK}",
        "device_id": "device id|device|cookie|cookie id|advertising id",
        "kind": "kind|device type|type",
    },
    "locations": {
        "customer_ref": ID,
        "event_time": f"since|seen at|valid from|{CLOCK}",
        "place": "place|store|store id|location|city|town|ort",
        "kind": "kind|type",
    },
    "relations": {
        "customer_ref": ID,
        "event_time": f"since|{CLOCK}",
        "other_ref": "other customer|other customer id|other shopper|related customer|referred customer|partner id",  # noqa: E501
        "kind": "kind|type|relation",
    },
    "merges": {
        "customer_ref": ID,
        "event_time": f"merged at|{CLOCK}",
        "other_ref": "merged into|merged into id|master id|surviving id|survivor|survivor id",
    },
    "subscriptions": {
        "customer_ref": ID,
        "event_time": f"event date|changed at|{CLOCK}",
        "subscription_id": "subscription id|subscription|contract|contract id|vertrag",
        "kind": "event|what|event type|kind|type|action|status",
        "plan": "plan|tariff|package|tarif",
        "price_minor": "price|amount|fee|preis",
        "term_days": "term days|days|term",
        "payment_method": "payment method|paid by|payment|zahlart",
    },
    "outcomes": {
        "customer_ref": ID,
        "event_time": CLOCK,
        "name": "outcome|outcome name|label name",
        "value": "value|label|outcome value",
    },
    "consents": {
        "customer_ref": ID,
        "event_time": f"given at|changed at|consent date|{CLOCK}",
        "channel": "channel|kanal|渠道",
        "purpose": "purpose|zweck|目的",
        "granted": "granted|consent|opt in|allowed|given|einwilligung",
    },
}
"""Table -> canonical column -> words, the likeliest first."""
KNOWN = "known time|known at|recorded at|recorded|received|received at|loaded at|ingested at|imported at|booked|booked at|logged|logged at|reported|reported at|inserted at|processed at|updated at|entry date|erfasst am|gebucht am"  # noqa: E501
"""Of a clock that says when a row became known."""
CURRENCY = "currency|currency code|ccy|curr|order currency|price currency|transaction currency|currency iso|iso currency|waehrung|währung|货币|币种"  # noqa: E501
"""Of a column that says what money an amount is in."""
FILES: dict[str, str] = {
    "order_lines": "order lines|orders|order|sales|transactions|invoices|purchases|retail|bestellungen|订单",  # noqa: E501
    "products": "products|product|items|catalog|catalogue|articles|artikel|商品",
    "customers": "customers|customer|crm|clients|members|users|accounts|kunden|客户",
    "events": "events|event|clicks|clickstream|web|app|visits|sessions",
    "contacts": "contacts|contact|mailings|sends|campaigns|touches|messages",
    "responses": "responses|response|clicks|redemptions|reactions",
    "feedback": "feedback|reviews|review|tickets|surveys|survey|nps|support",
    "loyalty": "loyalty|points|bonus",
    "devices": "devices|device|cookies",
    "locations": "locations|location|places",
    "relations": "relations|referrals|households|relation",
    "merges": "merges|merge|duplicates",
    "subscriptions": "subscriptions|subscription|contracts|billing",
    "outcomes": "outcomes|labels|outcome",
    "consents": "consents|consent|permissions|optins",
}  # fmt: skip
"""Table -> words in the names of files."""
CONSTANTS: dict[tuple[str, str], str] = {
    ("events", "channel"): "web", ("contacts", "channel"): "email",
    ("feedback", "kind"): "review", ("locations", "kind"): "store",
    ("outcomes", "name"): "outcome",
}  # fmt: skip
"""What may be said of a whole file where no column says it."""
EVENT_KINDS = {
    "page_view": "view", "pageview": "view", "view_item": "view", "product_view": "view",
    "pv": "view", "add_to_cart": "cart_add", "addtocart": "cart_add", "atc": "cart_add",
    "remove_from_cart": "cart_remove", "begin_checkout": "checkout", "session_start": "visit",
    "login": "visit", "transaction": "purchase", "order": "purchase",
}  # fmt: skip
"""Words of web shops -> ours."""
SUBSCRIPTION_KINDS = {
    "created": "start", "started": "start", "signup": "start", "subscribed": "start",
    "subscription.created": "start", "customer.subscription.created": "start",
    "updated": "change", "changed": "change", "upgraded": "change", "downgraded": "change",
    "subscription.updated": "change", "customer.subscription.updated": "change",
    "renewed": "renew", "renewal": "renew", "subscription.renewed": "renew",
    "cancelled": "cancel", "canceled": "cancel", "cancellation": "cancel", "terminated": "cancel",
    "subscription.cancelled": "cancel", "subscription.canceled": "cancel",
    "subscription.deleted": "cancel", "customer.subscription.deleted": "cancel",
    "paid": "pay", "payment": "pay", "invoice.paid": "pay", "invoice.payment_succeeded": "pay",
    "failed": "payment_failed", "invoice.payment_failed": "payment_failed",
}  # fmt: skip
RESPONSE_KINDS = {
    "delivery": "delivered", "bounce": "bounced", "open": "opened", "click": "clicked",
    "conversion": "converted", "unsubscribe": "unsubscribed", "unsub": "unsubscribed",
}  # fmt: skip
KINDS = {
    "events": EVENT_KINDS, "subscriptions": SUBSCRIPTION_KINDS, "responses": RESPONSE_KINDS,
}  # fmt: skip
"""Table -> words of others for its ``kind`` -> ours."""
LABELS = "churn|churned|churn label|churn flag|exited|attrition|left|label|target|outcome|converted|conversion|default|default payment next month|response|y|abgewandert|流失"  # noqa: E501
MONEY = [
    "amount",
    "price",
    "charge",
    "charges",
    "bill",
    "balance",
    "limit",
    "spend",
    "revenue",
    "cost",
    "fee",
    "income",
    "salary",
    "payment",
    "pay",
    "sales",
    "value",
    "total",
    "paid",
    "betrag",
    "preis",
    "umsatz",
    "金额",
    "价格",
]  # noqa: E501
PERSONAL: dict[str, str] = {
    "name": "name|first name|last name|surname|full name|given name|family name|customer name|nachname|vorname|姓名",  # noqa: E501
    "contact": "email|e mail|mail|email address|phone|phone number|telephone|tel|mobile|fax|telefon|邮箱|电话|手机|手机号",  # noqa: E501
    "address": "address|street|street address|address line|zip|zip code|postcode|postal code|plz|strasse|straße|house number|地址|邮编",  # noqa: E501
    "identifier": "ip|ip address|iban|card number|credit card|passport|ssn|soc sec id|tax id|national id|身份证|身份证号",  # noqa: E501
    "birth date": "birthday|birth date|date of birth|dob|geburtsdatum|生日|出生日期",
    "sensitive": "religion|health|ethnicity|race|political|union|sexual orientation|disability",
}
"""Category -> words of columns that tell who somebody is; none of them is loaded."""
EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
PHONE = r"^\+?[0-9][0-9 ()/.-]{7,}$"


def tokens(name: str) -> tuple[str, ...]:
    """Small words of a name, by case, marks and digits."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return tuple(re.findall(r"[^\W_]+", spaced.lower()))


def likeness(name: str, words: str) -> float:
    """How well ``name`` fits ``words``: 1 is the first of them, 0 is none.

    An equal name counts 0.7 to 1, the earlier word the more; a name that holds all tokens of a word
    of several, 0.5. A field of an object (``data.customer``) counts a tenth less by its own name.
    """
    found, best = tokens(name), 0.0
    options = words.split("|")
    for place, word in enumerate(options):
        wanted = tokens(word)
        if _spelt(found) == _spelt(wanted):
            best = max(best, 1 - 0.3 * place / len(options))
        elif len(wanted) > 1 and set(wanted) <= set(found):
            best = max(best, 0.5)
    field = name.rpartition(".")[2]
    return max(best, 0.9 * likeness(field, words)) if field not in ("", name) else best


def _spelt(parts: tuple[str, ...]) -> str:
    """A name as one word, in which every number is called alike."""
    return re.sub("(number|num|nummer|nr)$", "no", "".join(parts))


def personal_category(name: str) -> str:
    """Of a column that by its name tells who somebody is; empty for others."""
    scores = {category: likeness(name, words) for category, words in PERSONAL.items()}
    best = max(scores, key=lambda category: scores[category])
    return best if scores[best] >= 0.5 else ""


def file_likeness(stem: str, table: str) -> float:
    """Whether a file is called as a table is: 1, or 0."""
    named = set(tokens(stem))
    return float(any(set(tokens(word)) <= named for word in FILES.get(table, "").split("|")))


def is_currency(name: str) -> bool:
    """Whether a column is called like one that says what money amounts are in."""
    return likeness(name, CURRENCY) > 0


def is_money(name: str) -> bool:
    """Whether a column is called like an amount of money."""
    return bool(set(tokens(name)) & set(MONEY))


FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M",
    "%d.%m.%Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y", "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M", "%m/%d/%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M %p",
    "%d-%m-%Y",
    "%d-%m-%Y %H:%M:%S", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%Y%m%d",
    "%Y%m%d %H%M%S", "%Y年%m月%d日",
)  # fmt: skip
"""Ways to write a time that are tried; of equally good ones the first."""


def zone_of(formats: Iterable[str]) -> str | None:
    """``UTC`` where the text says so by a Z."""
    return "UTC" if all(format.endswith("Z") for format in formats) else None


def ambiguous(counts: Mapping[str, int], chosen: str) -> str | None:
    """The other order of day and month, where it reads as many values as the chosen one."""
    for one, other in (("%d/%m/%Y", "%m/%d/%Y"), ("%m/%d/%Y", "%d/%m/%Y")):
        twin = chosen.replace(one, other)
        if twin != chosen and counts.get(twin, 0) == counts[chosen]:
            return twin
    return None


UNDATED = date(2000, 1, 1)
"""Stands where a file has no clock."""
