// Package reference holds the part of the reference pages that a daemon serves.
package reference

import _ "embed" // for the description

// OpenAPI describes the API below /api/v1.
//
//go:embed openapi.yaml
var OpenAPI []byte
