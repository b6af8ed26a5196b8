"""Validation of a clip set before anything is trained on it.

:mod:`~kineflow.data.validation.suite` states what a good clip set is, as a Great Expectations suite, and runs it;
:mod:`~kineflow.data.validation.findings` holds the checks that look across rows, as plain functions;
:mod:`~kineflow.data.validation.expectations` gives those to Great Expectations;
:mod:`~kineflow.data.validation.checks` is what comes out, and :mod:`~kineflow.data.validation.page` draws it.
"""
