"""Segments: which customers are alike, named, explained, stable, and who moved.

::

    feature rows --space--> scaled rows --a way--> cells          learned without any outcome
    cells --segmentation--> segment, runner-up, margin, reasons   numpy alone, for serving
    earlier cutoffs --choose--> way, columns, number              by evidence, in the card
    segments --profile, words--> names, rules, what sets apart    --matching--> the same next time
"""
