// argoproj/argo-workflows v4.0.5, workflow/controller/operator.go, lines 1775 to 1776. Apache License 2.0.
		case tmpl.IsMainContainerName(ctr.Name):
			return wfv1.NodeFailed, msg
