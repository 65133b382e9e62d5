// Cuts a Go package down to what its roots reach: `cut FROM TO ROOTS KEYS`.
//
// terraform-provider-alicloud is one package of more than a million lines that needs the modules of all products. Of it
// the tests for PrivateZone need a hundredth. A declaration is kept if its name matches ROOTS (`file.go:name`), or if a
// kept one names it; names are not resolved, so that some are kept in vain and none is missing. Of the maps of the
// provider the entries in the file KEYS are kept. The names that are used go to TO.names, for the packages below.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// declaration is a function, or one name of a type, var or const block; constants of a block stay together.
type declaration struct {
	file     string
	node     ast.Node
	block    *ast.GenDecl
	names    []string
	receiver string
	kept     bool
}

// The struct of all products' clients: only those of its fields are kept that are used.
const clients = "AliyunClient"

type cutting struct {
	files        *token.FileSet
	parsed       map[string]*ast.File
	declarations []*declaration
	used         map[string]bool
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	from, to, roots := os.Args[1], os.Args[2], regexp.MustCompile(os.Args[3])
	text, err := os.ReadFile(os.Args[4])
	check(err)
	c := cutting{files: token.NewFileSet(), parsed: map[string]*ast.File{}, used: map[string]bool{}}
	c.parse(from, strings.Fields(string(text)))
	for _, each := range c.declarations {
		for _, name := range each.names {
			if roots.MatchString(filepath.Base(each.file) + ":" + name) {
				c.keep(each)
			}
		}
	}
	c.reach()
	c.trimClients()
	c.reach()
	check(os.MkdirAll(to, 0o755))
	c.write(to)
	names := make([]string, 0, len(c.used))
	for name := range c.used {
		names = append(names, name)
	}
	slices.Sort(names)
	check(os.WriteFile(to+".names", []byte(strings.Join(names, "\n")), 0o644))
}

func (c *cutting) parse(from string, keys []string) {
	paths, err := filepath.Glob(filepath.Join(from, "*.go"))
	check(err)
	for _, path := range paths {
		file, err := parser.ParseFile(c.files, path, nil, parser.SkipObjectResolution)
		check(err)
		c.parsed[path] = file
		for _, node := range file.Decls {
			switch node := node.(type) {
			case *ast.FuncDecl:
				node.Doc = nil
				trimMaps(node, keys)
				each := &declaration{file: path, node: node, names: []string{node.Name.Name}}
				if node.Recv != nil {
					ast.Inspect(node.Recv.List[0].Type, func(n ast.Node) bool {
						if name, ok := n.(*ast.Ident); ok {
							each.receiver = name.Name
						}
						return true
					})
				}
				c.declarations = append(c.declarations, each)
			case *ast.GenDecl:
				c.block(path, node)
			}
		}
	}
}

func (c *cutting) block(path string, block *ast.GenDecl) {
	for _, spec := range block.Specs {
		each := &declaration{file: path, node: spec, block: block}
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				each.names = append(each.names, name.Name)
			}
		case *ast.TypeSpec:
			each.names = []string{spec.Name.Name}
		default:
			continue // imports
		}
		c.declarations = append(c.declarations, each)
	}
}

// trimMaps leaves the named resources and data sources in the literals of the provider's two maps.
func trimMaps(function *ast.FuncDecl, keys []string) {
	ast.Inspect(function, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		name, ok := pair.Key.(*ast.Ident)
		literal, isLiteral := pair.Value.(*ast.CompositeLit)
		if !ok || !isLiteral || name.Name != "ResourcesMap" && name.Name != "DataSourcesMap" {
			return true
		}
		literal.Elts = slices.DeleteFunc(literal.Elts, func(entry ast.Expr) bool {
			key, err := strconv.Unquote(entry.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value)
			return err != nil || !slices.Contains(keys, key)
		})
		return false
	})
}

// keep keeps a declaration, with the block of a constant, and notes what it names.
func (c *cutting) keep(each *declaration) {
	for _, other := range c.declarations {
		isBeside := each.block != nil && each.block.Tok == token.CONST && other.block == each.block
		if other != each && !isBeside || other.kept {
			continue
		}
		other.kept = true
		if slices.Contains(other.names, clients) {
			c.used[clients] = true // of its fields, see trimClients
			continue
		}
		c.note(other.node)
	}
}

func (c *cutting) note(node ast.Node) {
	ast.Inspect(node, func(n ast.Node) bool {
		if name, ok := n.(*ast.Ident); ok {
			c.used[name.Name] = true
		}
		return true
	})
}

func (c *cutting) reach() {
	for before := -1; before != len(c.used); {
		before = len(c.used)
		for _, each := range c.declarations {
			isUsed := func(name string) bool { return name != "init" && name != "_" && c.used[name] }
			if !each.kept && slices.ContainsFunc(each.names, isUsed) && (each.receiver == "" || c.used[each.receiver]) {
				c.keep(each)
			}
		}
	}
}

func (c *cutting) trimClients() {
	for _, each := range c.declarations {
		spec, ok := each.node.(*ast.TypeSpec)
		if !ok || spec.Name.Name != clients || !each.kept {
			continue
		}
		fields := spec.Type.(*ast.StructType).Fields
		fields.List = slices.DeleteFunc(fields.List, func(field *ast.Field) bool { return !c.used[field.Names[0].Name] })
		for _, field := range fields.List {
			c.note(field.Type)
		}
	}
}

func (c *cutting) write(to string) {
	for path, file := range c.parsed {
		var body bytes.Buffer
		qualifiers, done := map[string]bool{}, map[*ast.GenDecl]bool{}
		for _, each := range c.declarations {
			if each.file != path || !each.kept {
				continue
			}
			node := each.node
			if each.block != nil {
				if each.block.Tok == token.CONST {
					if done[each.block] {
						continue
					}
					done[each.block] = true
					node = each.block
				} else {
					node = &ast.GenDecl{Tok: each.block.Tok, Specs: []ast.Spec{each.node.(ast.Spec)}}
				}
			}
			ast.Inspect(node, func(n ast.Node) bool {
				if selector, ok := n.(*ast.SelectorExpr); ok {
					if name, ok := selector.X.(*ast.Ident); ok {
						qualifiers[name.Name] = true
					}
				}
				return true
			})
			check(format.Node(&body, c.files, node))
			body.WriteString("\n\n")
		}
		if body.Len() == 0 {
			continue
		}
		var whole bytes.Buffer
		fmt.Fprintf(&whole, "package %s\n\nimport (\n", file.Name.Name)
		for _, each := range file.Imports {
			name := ""
			if each.Name != nil {
				name = each.Name.Name
			}
			isUsed := func(name string) bool { return qualifiers[name] }
			if name == "_" || slices.ContainsFunc(qualifiersOf(each.Path.Value, name), isUsed) {
				fmt.Fprintf(&whole, "\t%s %s\n", name, each.Path.Value)
			}
		}
		whole.WriteString(")\n\n")
		whole.Write(body.Bytes())
		check(os.WriteFile(filepath.Join(to, filepath.Base(path)), whole.Bytes(), 0o644))
	}
}

var version = regexp.MustCompile(`(/|\.)v\d+$`)

// qualifiersOf are the names that a package may have by its path, where no name is given.
func qualifiersOf(quoted, name string) []string {
	if name != "" {
		return []string{name}
	}
	path, err := strconv.Unquote(quoted)
	check(err)
	last := filepath.Base(version.ReplaceAllString(path, ""))
	bare := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(last, "aliyun-"), "-sdk"), "-go")
	return []string{last, strings.ReplaceAll(last, "-", "_"), strings.ReplaceAll(last, "-", ""), strings.TrimPrefix(last, "go-"),
		bare, strings.TrimSuffix(last, "-go-sdk")}
}
