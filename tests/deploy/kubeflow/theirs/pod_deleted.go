// argoproj/argo-workflows v4.0.5, workflow/controller/operator.go, lines 1289 to 1289. Apache License 2.0.
			woc.markNodeError(ctx, node.Name, argoerrors.New("", "pod deleted"))
