"""Labels and annotations of pods and jobs, ours and those that others give them."""

MANAGED_BY = "app.kubernetes.io/managed-by"
RUN_LABEL = "kineflow.io/run"
TASK_LABEL = "kineflow.io/task"
"""What a recipe calls a task: on every pod of a step."""

DIGEST = "kineflow.io/digest"
"""Of all that a TrainJob is asked to do."""

QUEUE = "kueue.x-k8s.io/queue-name"
"""Which LocalQueue of Kueue a pod, or a training job, starts by."""

KFP_RUN_LABEL = "pipeline/runid"
"""Kubeflow Pipelines gives it to every pod of a run."""

ARGO_NODE = "workflows.argoproj.io/node-name"
"""A pod's place in Argo's graph, as ``d3d-x.root.exit-handler-1.train.executor(1)``."""

JOB_INDEX = "batch.kubernetes.io/job-completion-index"
"""Which node of a training job a pod is, from 0."""

JOB_SET = "jobset.sigs.k8s.io/jobset-name"
"""Of a TrainJob's pods: its name."""

NAMESPACE = "KINEFLOW_NAMESPACE"
"""The environment variable in which a pod finds its namespace."""
