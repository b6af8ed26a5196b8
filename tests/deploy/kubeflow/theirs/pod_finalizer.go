// argoproj/argo-workflows v4.0.5, workflow/controller/workflowpod.go, lines 223 to 225. Apache License 2.0.
	if os.Getenv(common.EnvVarPodStatusCaptureFinalizer) == "true" {
		pod.Finalizers = append(pod.Finalizers, common.FinalizerPodStatus)
	}
