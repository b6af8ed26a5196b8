// kubeflow/pipelines 2.17.0, backend/src/v2/config/s3.go, lines 31 to 42. Apache License 2.0.
type S3ProviderDefault struct {
	Endpoint    string         `json:"endpoint"`
	Credentials *S3Credentials `json:"credentials"`
	// optional for any non aws s3 provider
	Region string `json:"region"`
	// optional
	DisableSSL *bool `json:"disableSSL"`
	// optional
	ForcePathStyle *bool `json:"forcePathStyle"`
	// optional
	MaxRetries *int `json:"maxRetries"`
}
