package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func apiVersionsAPI() api {
	return api{
		key: keyAPIVersions, min: 0, max: 4,
		schema:  schema{fields: []field{str().from(3), str().from(3)}, flexible: 3, refused: noTag},
		decoded: func() kmsg.Request { return kmsg.NewPtrApiVersionsRequest() },
		handle:  handler(apiVersions),
	}
}

// unsupportedVersion marks the request of a client that asked with a version from the future. Its body was not read.
const unsupportedVersion = -1

func unsupportedAPIVersions(header) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = unsupportedVersion
	return req
}

// apiVersions answers which APIs and versions are served. As KIP-511 has it, a version that is not known is answered in version 0
// with UNSUPPORTED_VERSION and the versions of ApiVersions itself, so that the client can ask again.
func apiVersions(_ context.Context, _ *Server, req *kmsg.ApiVersionsRequest) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = max(req.Version, 0)
	for _, a := range apis() {
		if req.Version == unsupportedVersion && a.key != keyAPIVersions {
			continue
		}
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = a.key, a.min, a.max
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	if req.Version == unsupportedVersion {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	}
	return resp
}
