"""Invented names, places and words; nobody is meant."""

FEMALE = (
    "Anna", "Marie", "Sophie", "Lena", "Julia", "Zoë", "Inés", "Chloé", "Greta", "Katarina",
    "Elif", "Nora", "Lotte", "Hélène", "Ida", "Mia", "Saskia", "Petra", "Jana", "Emma",
)  # fmt: skip
MALE = (
    "Jan", "Lukas", "Jürgen", "André", "Tom", "François", "Emre", "Pieter", "Björn", "Max",
    "Paul", "Noah", "Sören", "Milan", "Karel", "Hugo", "Stefan", "Daan", "Luca", "Ben",
)  # fmt: skip
FAMILY = (
    "Müller", "de Vries", "Schmidt", "van den Berg", "Dubois", "Novák", "Weiß", "Jansen", "Huber",
    "Lefèvre", "Schneider", "Bakker", "Yılmaz", "Fischer", "Moreau", "Gruber", "Peeters", "Wagner",
    "Öztürk", "Mayer", "Visser", "Laurent", "Koch", "Nowak", "Hoffmann", "Meier", "Smit", "Roux",
)  # fmt: skip
CHINESE_FAMILY = (
    ("王", "Wang"), ("李", "Li"), ("张", "Zhang"), ("刘", "Liu"), ("陈", "Chen"), ("杨", "Yang"),
    ("赵", "Zhao"), ("黄", "Huang"), ("周", "Zhou"), ("吴", "Wu"), ("欧阳", "Ouyang"),
)  # fmt: skip
CHINESE_GIVEN = (
    ("伟", "Wei"), ("芳", "Fang"), ("娜", "Na"), ("敏", "Min"), ("静", "Jing"), ("丽", "Li"),
    ("强", "Qiang"), ("磊", "Lei"), ("洋", "Yang"), ("艳", "Yan"), ("晓明", "Xiaoming"),
    ("思远", "Siyuan"), ("雨桐", "Yutong"), ("子涵", "Zihan"),
)  # fmt: skip
"""Written name and its letters."""
ASCII = str.maketrans("äöüáéèëıçß", "aouaeeeics")

REGIONS = (
    ("North", "DE", 0.18), ("East", "DE", 0.10), ("South", "DE", 0.20), ("West", "DE", 0.20),
    ("Vienna", "AT", 0.07), ("Alps", "AT", 0.06), ("Holland", "NL", 0.08), ("Flanders", "BE", 0.05),
    ("Alsace", "FR", 0.06),
)  # fmt: skip
"""Region, country, share of customers."""
TOWNS = 5
"""Towns in each region; each has one store."""
STREETS = (
    "Lindenallee", "Bahnhofstr.", "Hauptstraße", "Gartenweg", "Rue du Moulin", "Kerkstraat",
    "Schulstr.", "Am Markt", "Mühlenweg", "Dorpsstraat", "Rue de la Gare", "Birkenweg",
    "Ringstraße", "Kirchgasse", "Molenweg", "Bergstr.", "Uferweg", "Rosenstr.", "Stationsplein",
    "Allée des Tilleuls",
)  # fmt: skip
SPOKEN = {"DE": "de", "AT": "de", "NL": "nl", "BE": "nl", "FR": "fr"}
OTHER_LANGUAGES = (("en", 0.08), ("zh", 0.07))
"""Preferred language and share of customers in every country."""
CATEGORIES = (
    "kitchen", "garden", "lighting", "textiles", "stationery", "toys", "bath", "decoration",
    "storage", "tea and coffee", "outdoor", "pets", "sports", "travel", "books", "music", "crafts",
    "electronics", "office", "baby", "jewellery", "shoes", "bags", "health", "tools", "games",
)  # fmt: skip
BRANDS = (
    "Alba", "Borealis", "Casa Nova", "Distel", "Eibe", "Fjord", "Grünwerk", "Halm", "Iris", "Jolie",
)  # fmt: skip
