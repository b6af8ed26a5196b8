// kubeflow/pipelines 2.17.0, backend/src/v2/objectstore/config.go, lines 29 to 29. Apache License 2.0.
const DefaultEndpointInMultiUserMode = "seaweedfs.kubeflow:9000"
