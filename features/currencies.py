"""How texts tell a currency: by its ISO 4217 code, or by its sign."""

SIGNS = {
    "AED": "", "ARS": "$", "AUD": "$", "BRL": "$", "CAD": "$", "CHF": "", "CLP": "$", "CNY": "¥￥",
    "COP": "$", "CZK": "", "DKK": "", "EUR": "€", "GBP": "£", "HKD": "$", "HUF": "", "IDR": "",
    "ILS": "₪", "INR": "₹", "JPY": "¥￥", "KRW": "₩", "MXN": "$", "MYR": "", "NGN": "₦", "NOK": "",
    "NZD": "$", "PHP": "₱", "PLN": "", "RMB": "¥￥", "RUB": "₽", "SEK": "", "SGD": "$", "THB": "฿",
    "TRY": "₺", "TWD": "$", "UAH": "₴", "USD": "$", "VND": "₫", "ZAR": "",
}  # fmt: skip
"""Code -> its signs. Several dollars share one: that sign tells them from euros, not apart."""


def names_of(currency: str) -> tuple[str, ...]:
    """What ``currency`` is called in a column of currencies: its code and its signs."""
    return (currency, *SIGNS.get(currency, ""))


def named_other(currency: str) -> str:
    """A pattern (RE2) that finds the sign or the code of another currency than ``currency``."""
    own = SIGNS.get(currency, "$")
    signs = "".join(sorted(set("".join(SIGNS.values())) - set(own)))
    codes = "|".join(code for code in SIGNS if code != currency)
    return f"[{signs}]|(?:^|[^A-Za-z])(?i:{codes})(?:[^A-Za-z]|$)"
