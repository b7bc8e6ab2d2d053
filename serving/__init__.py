"""From an approved version to answers over HTTP.

::

    approved version --package--> Bento: code, pinned bundle, signed release; golden rows replayed
                     --serve--> guard (keys, limits, deadlines) --> FastAPI routes (base)
    request body --rows--> array of shape (n_rows, n_features) --training.bundle--> reply

``python -m serving --help`` lists the commands.
"""
