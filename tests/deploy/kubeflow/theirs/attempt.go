// kubeflow/pipelines 2.17.0, backend/src/v2/component/launcher_v2.go, lines 606 to 626. Apache License 2.0.
func retryIndexFromPodAnnotation(ctx context.Context, k8sClient kubernetes.Interface, namespace, podName string) (string, error) {
	pod, err := k8sClient.CoreV1().Pods(namespace).Get(ctx, podName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("failed to get pod %s/%s: %w", namespace, podName, err)
	}
	nodeName, ok := pod.Annotations["workflows.argoproj.io/node-name"]
	if !ok {
		return "", fmt.Errorf("pod %s/%s has no argo node-name annotation", namespace, podName)
	}
	// Extract the trailing "(N)" from node names like "…executor(3)".
	open := strings.LastIndex(nodeName, "(")
	close := strings.LastIndex(nodeName, ")")
	if open < 0 || close <= open {
		return "", fmt.Errorf("argo node-name %q has no retry index suffix", nodeName)
	}
	index := nodeName[open+1 : close]
	if _, err := strconv.Atoi(index); err != nil {
		return "", fmt.Errorf("argo node-name %q retry index %q is not an integer: %w", nodeName, index, err)
	}
	return index, nil
}
