// kubeflow/pipelines 2.17.0, backend/src/v2/compiler/argocompiler/argo.go, lines 262 to 289. Apache License 2.0.
func buildTTLStrategy(pipelineConfig *pipelinespec.PipelineConfig) *wfapi.TTLStrategy {
	if pipelineConfig == nil {
		return nil
	}

	afterCompletion := pipelineConfig.GetResourceTtlOnCompletion()
	afterSuccess := pipelineConfig.GetResourceTtlOnSuccess()
	afterFailure := pipelineConfig.GetResourceTtlOnFailure()

	if afterCompletion <= 0 && afterSuccess <= 0 && afterFailure <= 0 {
		return nil
	}

	strategy := &wfapi.TTLStrategy{}
	if afterCompletion > 0 {
		v := int32(afterCompletion)
		strategy.SecondsAfterCompletion = &v
	}
	if afterSuccess > 0 {
		v := int32(afterSuccess)
		strategy.SecondsAfterSuccess = &v
	}
	if afterFailure > 0 {
		v := int32(afterFailure)
		strategy.SecondsAfterFailure = &v
	}
	return strategy
}
