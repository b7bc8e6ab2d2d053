"""From feature tables to answers a reviewer can judge.

::

    feature table --tasks--> rows and labels --models--> scores --calibrate--> probabilities
                  --evaluate--> metrics beside baselines and champion --track/review--> version
                  --bundle--> signed folder that services load

``python -m training --help`` lists the commands.
"""
