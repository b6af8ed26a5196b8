"""A look at a team's own videos: what they are, how to split them, and which parameters suit them and this machine.

:func:`kineflow.survey.survey.survey_videos` does all of it; ``kineflow init VIDEOS`` is its command. Each file does one
part: ``found`` finds the layout, ``look`` and ``motion`` look at clips, ``groups`` and ``splits`` say which clips stay
together, ``rules`` chooses parameters, ``estimate`` measures what they cost here, ``page`` shows it all.
"""
