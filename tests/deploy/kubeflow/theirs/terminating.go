// kubeflow/pipelines 2.17.0, backend/src/common/util/workflow.go, lines 314 to 318. Apache License 2.0.
func (w *Workflow) IsTerminating() bool {
	return w.Spec.ActiveDeadlineSeconds != nil &&
		*w.Spec.ActiveDeadlineSeconds == 0 &&
		!w.IsInFinalState()
}
