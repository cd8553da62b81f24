module all
go 1.24
