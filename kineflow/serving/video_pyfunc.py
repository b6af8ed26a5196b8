"""The file that MLflow stores with a model and runs to load it: it names a class of the installed library, no more.

So a stored model holds no pickled code, and a correction to :mod:`kineflow.serving.served_model` reaches it with the
next version of the library.
"""

from mlflow.models import set_model

from kineflow.serving.served_model import VideoClassifier

set_model(VideoClassifier())
