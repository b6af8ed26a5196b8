// argoproj/argo-workflows v4.0.5, workflow/controller/workflowpod.go, lines 207 to 210. Apache License 2.0.
			Annotations: map[string]string{
				common.AnnotationKeyNodeName: nodeName,
				common.AnnotationKeyNodeID:   nodeID,
			},
