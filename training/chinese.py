"""The Chinese of what columns mean, of units, traits and states; see :mod:`training.sentences`."""

import re

UNITS = {
    "brands": "个品牌", "calls": "次通话", "cancellations": "次取消", "categories": "个品类",
    "changes": "次变更", "contracts": "份合同", "days": "天", "events": "次", "flag": "",
    "hours": "小时", "items": "件", "lines": "行", "minutes": "分钟", "months": "个月",
    "orders": "单", "payments": "次付款", "percent": "%", "products": "种商品",
    "renewals": "次续约", "sessions": "次会话", "steps": "步", "thousands": "千",
    "threads": "条会话", "topics": "个主题", "visits": "次访问", "years": "年",
}  # fmt: skip

_WINDOWS = (
    (re.compile(r"^(.*), last (\d+) days$"), "近{}天"),
    (re.compile(r"^(.*), (\d+) to (\d+) days ago$"), "{}至{}天前"),
)
_DECLARED = ", as the source declares it"

MEANINGS = {
    # recency, frequency, value
    "time since the last order": "距上次下单的时间",
    "repeat orders, all but the first": "复购订单（首单除外）",
    "time since the first order": "距首次下单的时间",
    "mean value of an order, net of what was taken back": "订单均值（扣除退货）",
    # orders
    "orders": "订单数",
    "net value of orders": "订单净额",
    "net value of all orders": "全部订单净额",
    "net value of the last order": "最近一单净额",
    "value of the last order over the mean": "最近一单金额与均值之比",
    "mean value of an order": "订单均值",
    "net items ordered": "净购件数",
    "mean items of an order": "每单平均件数",
    "mean lines of an order": "每单平均行数",
    "lines taken back": "退货行数",
    "value taken back": "退货金额",
    "value taken back over what was kept and taken back together": "退货金额占比",
    "discount over list value of orders": "折扣占标价的比例",
    "share of orders with a discount": "有折扣订单的占比",
    "orders in the same 90 days a year before": "去年同期90天的订单数",
    "orders in the 90 days that follow the day a year ago": "一年前此日之后90天的订单数",
    "spend in the 90 days that follow the day a year ago": "一年前此日之后90天的消费额",
    "share of the orders of the last 60 days that the last 30 hold": "近60天订单中近30天的占比",
    "share of the orders of the last 180 days that the last 90 hold": "近180天订单中近90天的占比",
    "share of the orders of the last 365 days that the last 30 hold": "近365天订单中近30天的占比",
    "share of the spend of the last 60 days that the last 30 hold": "近60天消费中近30天的占比",
    "share of the spend of the last 180 days that the last 90 hold": "近180天消费中近90天的占比",
    "share of the spend of the last 365 days that the last 30 hold": "近365天消费中近30天的占比",
    "share of the last year's orders in its second half": "近一年订单中后半年的占比",
    "share of the last year's spend in its last quarter": "近一年消费中最后一季的占比",
    "months of 30 days with an order": "有订单的月数（每月30天）",
    "time since the order before the last": "距倒数第二单的时间",
    "time since the third order from the end": "距倒数第三单的时间",
    # cadence
    "mean gap between days with an order": "下单日之间的平均间隔",
    "usual gap between days with an order, the median": "通常间隔（间隔的中位数）",
    "standard deviation of the gaps between days with an order": "间隔的标准差",
    "deviation over mean of the gaps between days with an order, 0 = a clock":
        "间隔的变异系数（0＝极有规律）",
    "longest gap between days with an order": "最长间隔",
    "most recent gap between days with an order": "最近一次间隔",
    "the last gap over the mean gap": "最近间隔与平均间隔之比",
    "time since the last order over the mean gap": "距上次下单时间与平均间隔之比",
    "time since the last order over the usual gap": "距上次下单时间与通常间隔之比",
    "time since the last order over the longest gap": "距上次下单时间与最长间隔之比",
    "time until the next order is due by the usual gap, below 0 overdue":
        "距下次应购的时间（负数为逾期）",
    "share of orders on Saturday or Sunday": "周末订单的占比",
    "share of orders from 18 o'clock on": "18点以后订单的占比",
    "mean time of day of orders": "下单的平均时刻",
    "chance that two orders fall on the same weekday, 1 = always, 1/7 = evenly":
        "两单落在同一星期几的概率",
    "chance that two orders fall into the same quarter of the day": "两单落在一天同一时段的概率",
    # assortment
    "different products bought": "购买的不同商品数",
    "different products ever bought": "购买过的不同商品数",
    "different categories bought": "购买的不同品类数",
    "different brands bought": "购买的不同品牌数",
    "share of products that were never bought before": "从未买过的商品的占比",
    "share of purchases of a product that repeat an earlier one": "重复购买同一商品的占比",
    "share of purchases that repeat one from any time before": "重复以往购买的占比",
    "mean price of an item in kept orders": "保留订单的件均价",
    "share of lines of the category bought most": "最常购品类的占比",
    "share of lines of the brand bought most": "最常购品牌的占比",
    "how evenly lines are spread over categories: 0 = all of one": "购买在各品类间的均匀程度",
    "how evenly lines are spread over brands: 0 = all of one": "购买在各品牌间的均匀程度",
    # periods, engagement, support, contract
    "orders kept": "保留的订单",
    "visits on every channel": "全渠道访问次数",
    "visits, web": "网站访问次数", "visits, app": "应用访问次数", "visits, store": "到店次数",
    "products viewed": "浏览商品次数", "searches": "搜索次数",
    "products put into the cart": "加入购物车次数",
    "time spent in visits": "访问时长", "time since the last visit": "距上次访问的时间",
    "messages opened or clicked": "打开或点击的消息数",
    "tickets, complaints, calls and chats": "工单、投诉、通话与聊天",
    "reviews of four stars or more, and promoters' answers": "四星以上评价与推荐者回复",
    "customers referred": "推荐的客户数",
    "threads with a ticket": "工单数", "threads with a complaint": "投诉数",
    "threads with a call": "通话数", "threads with a chat": "聊天数",
    "threads with a ticket or complaint that are not resolved": "未解决的工单与投诉",
    "plan of the main contract": "主合同的套餐", "contracts that are active": "有效合同数",
    "price of a term of the main contract": "主合同每期价格",
    "payments that failed": "失败的付款次数", "payments that were made": "成功的付款次数",
    "time to the end of the main contract's current term": "距主合同本期结束的时间",
    # a snapshot's customers
    "time with the company": "在网时长", "what is charged a month": "每月费用",
    "what was charged so far": "累计费用", "term of the contract": "合同期限",
    "internet service": "互联网服务", "payment method": "付款方式",
    # families of a ranker's columns
    "how often and how lately the customer had it": "客户购买的次数与远近",
    "what goes with the rest of the customer's history": "与客户其他购买的搭配",
    "whether its price, category and brand are the customer's": "价格、品类与品牌是否合意",
    "how the customer shops": "客户的购物习惯",
    "how it sells now": "近期销量",
    "how it sells at this time of the year": "每年此时的销量",
    # what makes a value
    "chance to be still a customer": "仍为客户的概率",
    "value of an order": "每单金额",
    "share of it that is kept": "毛利率",
    "what all features and labels say beyond these": "其余特征带来的倍数",
}  # fmt: skip

MISSING = {
    "no order": "没有订单", "no order was kept": "没有保留的订单", "nothing was bought": "没有购买",
    "fewer than two orders": "订单少于两单", "fewer than three orders": "订单少于三单",
    "fewer than two gaps": "间隔少于两个", "no visit was seen": "没有访问",
    "fewer than two days with an order": "有订单的日子少于两天",
    "not declared": "未申报", "never": "从未",
}  # fmt: skip
_MISSING_WINDOWS = (
    (re.compile(r"^no order in the last (\d+) days$"), "近{}天没有订单"),
    (re.compile(r"^nothing was bought in the last (\d+) days$"), "近{}天没有购买"),
    (re.compile(r"^the data begin less than (\d+) days before the cutoff$"), "数据不足{}天"),
)

TRAITS = {
    "recent": "近期活跃", "long silent": "久未下单", "rare": "低频", "frequent": "高频",
    "low spend": "低消费", "high spend": "高消费", "small baskets": "小客单",
    "large baskets": "大客单", "new": "新客", "long known": "老客", "few products": "品种少",
    "many products": "品种多", "no returns": "无退货", "many returns": "多退货",
    "full price": "原价", "discounts": "折扣", "weekdays": "工作日", "weekends": "周末",
    "by day": "白天", "evenings": "晚间", "average": "一般", "no order in a year": "一年未下单",
}  # fmt: skip

VERBS = {"buy": "购买", "view": "浏览", "read": "阅读", "watch": "观看", "listen to": "收听"}


def meaning(text: str) -> str:
    """What a column means, in Chinese; as it is where that is not known."""
    if text.endswith(_DECLARED):
        text = text.removesuffix(_DECLARED)
    if text in MEANINGS:
        return MEANINGS[text]
    for pattern, said in _WINDOWS:
        if (found := pattern.match(text)) and found[1] in MEANINGS:
            return f"{said.format(*found.groups()[1:])}的{MEANINGS[found[1]]}"
    return text


def missing(text: str) -> str:
    """Why a value is missing."""
    for pattern, said in _MISSING_WINDOWS:
        if found := pattern.match(text):
            return said.format(*found.groups())
    return MISSING.get(text, text)


def name(text: str) -> str:
    """The name of a segment, trait by trait."""
    said = []
    for trait in text.split(", "):
        word = trait.lower()
        very = word.startswith("very ")
        known = TRAITS.get(word.removeprefix("very "))
        said.append(trait if known is None else f"{'非常' if very else ''}{known}")
    return "、".join(said)
