module moorage/pause

go 1.26.0
