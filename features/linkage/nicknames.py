"""Short names and the names they stand for; a name that stands for several is left alone."""

_SHORT = {
    "alexander": "alex sascha", "andrew": "andy drew", "anthony": "tony", "barbara": "barb babs",
    "benjamin": "ben benny", "catherine": "cathy katie kate kathy cath", "charles": "charlie chuck",
    "christopher": "chris kit", "daniel": "dan danny", "david": "dave davey",
    "deborah": "debbie deb",
    "edward": "ed eddie ted ned", "elizabeth": "liz beth betty lizzie eliza bess lisbeth",
    "frederick": "fred freddie", "gregory": "greg", "harold": "harry hal", "jacob": "jake",
    "james": "jim jimmy jamie", "jennifer": "jen jenny", "jessica": "jess jessie",
    "johannes": "hannes", "john": "johnny jack", "jonathan": "jon jonny", "joseph": "joe joey jo",
    "joshua": "josh", "kenneth": "ken kenny", "lawrence": "larry", "leonard": "len lenny",
    "margaret": "maggie meg peggy marge", "matthew": "matt", "maximilian": "max maxi",
    "michael": "mike mick micky mikey", "nathaniel": "nate", "nicholas": "nick nicky",
    "pamela": "pam", "patricia": "pat patty tricia", "peter": "pete", "philip": "phil",
    "raymond": "ray", "rebecca": "becky becca", "richard": "dick rick ricky rich richie",
    "robert": "bob bobby rob robbie bert", "ronald": "ron ronnie", "samantha": "sammy",
    "samuel": "sam", "stephen": "steve stevie", "susan": "sue susie suzy", "sebastian": "basti",
    "theodore": "theo", "thomas": "tom tommy", "timothy": "tim timmy", "victoria": "vicky vicki",
    "vincent": "vince", "walter": "walt wally", "william": "will bill billy willy liam",
    "zachary": "zach zack",
}  # fmt: skip

NICKNAMES = {short: name for name, shorts in _SHORT.items() for short in shorts.split()}
"""Short name -> name, both in small letters."""
