// argoproj/argo-workflows v4.0.5, pkg/apis/workflow/v1alpha1/workflow_types.go, lines 2295 to 2304. Apache License 2.0.
func (s RetryStrategy) RetryPolicyActual() RetryPolicy {
	if s.RetryPolicy != "" {
		return s.RetryPolicy
	}
	if s.Expression == "" {
		return RetryPolicyOnFailure
	} else {
		return RetryPolicyAlways
	}
}
