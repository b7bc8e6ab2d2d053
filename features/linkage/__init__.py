"""Records of all channels -> persons: who is who, since when, how surely, and whom to ask about.

::

    identifiers --normal--> comparable texts --model--> scored pairs --+
                                     +--keys (equal e-mail, card ...)--+--clusters--> links, merges

Names, addresses and numbers are compared here and go no further: what leaves is a customer number,
a rule, a probability and a time. It is declared under ``identity:`` in the YAML of a source.
"""
