// argoproj/argo-workflows v4.0.5, workflow/common/common.go, lines 187 to 187. Apache License 2.0.
	EnvVarPodStatusCaptureFinalizer = "ARGO_POD_STATUS_CAPTURE_FINALIZER"
